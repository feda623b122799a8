"""schemathesis over a document and a router: `python -m tests.router.openapi.judge [own|ollama] [EXAMPLES]`.

Generated requests, good and bad, and sequences of them: the same every time, more of them with a larger number.
"""

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from dev.ollama.document import document as ollamas
from dormouse_router.openapi import examples
from tests.router.openapi.worlds import world

HERE = Path(__file__).parent
PROGRAM = Path(sys.executable).with_name("st")
EXAMPLES = 6
"""Of each operation, on top of those that each schema's edges give."""
OWN, OLLAMA = "own", "ollama"
NAMES = {OWN: (examples.CHAT, examples.EMBED), OLLAMA: ("gemma4", "embeddinggemma")}
"""The models that a document's examples call."""
SEED = "1"


@dataclass(frozen=True)
class Verdict:
    """`said` is the whole report; `operations` and `cases` count what was tried."""

    ok: bool
    said: str
    operations: int
    cases: int


async def judge(which: str, most: int = EXAMPLES) -> Verdict:
    """Try everything the document `which` names on a router of its own."""
    async with world(NAMES[which]) as made:
        location = f"{made.url}/openapi.json" if which == OWN else str(ollamas())
        command = ("run", location, "--url", made.url, "--max-examples", str(most), "--seed", SEED)
        running = await asyncio.create_subprocess_exec(
            PROGRAM,
            "--config-file",
            str(HERE / f"{which}.toml"),
            *command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await running.communicate()
        finally:
            if running.returncode is None:
                running.kill()
                await running.wait()
    said = out.decode(errors="replace")
    return Verdict(running.returncode == 0, said, _number(r"(\d+) selected", said), _number(r"(\d+) generated", said))


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def main() -> int:
    which = sys.argv[1] if len(sys.argv) > 1 else OWN
    verdict = asyncio.run(judge(which, int(sys.argv[2]) if len(sys.argv) > 2 else 100))
    sys.stdout.write(verdict.said)
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main())
