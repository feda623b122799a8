"""Where the benches' models lie: made once by the engine's Python, kept in the machine's cache."""

import subprocess
from pathlib import Path

from bench.engines import server
from dev import cache, enginevenv
from dev.models import store


def folder(width: int, layers: int) -> Path:
    """A random Llama's folder, made first if it is missing."""

    def build(out: Path) -> None:
        command = [str(enginevenv.python()), "-m", "bench.engines.midsize", str(out)]
        subprocess.run([*command, f"--width={width}", f"--layers={layers}"], cwd=server.ROOT, check=True)

    words = (store.SOURCES / name for name in ("words.py", "conversations.py", "chat_template.jinja"))
    source = Path(server.__file__).with_name("midsize.py")
    key = cache.key(f"{width} {layers}", enginevenv.REQUIREMENTS, source, *words)
    size = 12 * width * width * layers * 2 / 1e6
    return cache.publish("midsize", key, build, what="a random model", expect=f"{size:.0f} MB")
