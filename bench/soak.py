"""The router under mixed load for a long time: good and bad clients, good and bad engines, models that come and go.

    python -m bench.soak [--minutes 30] [--clients 24] [--python /usr/bin/python3] [--seed N] [--json FILE]

The real router has a process and a core of its own; clients, engines and cluster share the other. Every minute one
line of progress. Then the load stops, everything is taken away, and the verdict says what is left: exit status 0
only where nothing is, memory was flat, and every answer was whole or ended by an error that has a cause.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO

from bench.routing.control import Control, Said
from bench.routing.processes import BenchError, Process, free_port, python, running
from bench.routing.targets import LOAD_CORE, PROXY_CORE
from bench.soaking import good, verdict
from bench.soaking.ledger import Ledger
from bench.soaking.rude import Rude
from bench.soaking.verdict import Rule, Sample
from bench.soaking.world import World

SILENCE = 2.0
SETTINGS = {
    "silence_timeout": SILENCE,
    "body_timeout": 5.0,
    "comment_after": 0.5,
    "comment_every": 0.5,
    "drain_seconds": 10.0,
}
SETTLE_SECONDS = 40.0
STOP_SECONDS = 20.0
COMPLAINTS = ("Traceback", "request failed", "task died", "never retrieved", "never awaited")
"""Words of the router's log that no client's or engine's fault may cause."""


class Soak:
    """One soak of the router in `process`."""

    def __init__(self, process: Process, control: Control, port: int, options: argparse.Namespace) -> None:
        self._process, self._control, self._port, self._options = process, control, port, options
        self._dice = random.Random(options.seed)  # noqa: S311 - a load, no secret
        self.ledger = Ledger()
        self._world = World(control, self.ledger, self._dice, SILENCE)
        self.samples: list[Sample] = []
        self._began = 0.0

    async def run(self) -> list[Rule]:
        """The load, its end, and what is left of it."""
        before = await self._counts()
        await self._world.start()
        self._began = time.monotonic()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(stop))
            group.create_task(self._world.run(stop))
            for number in range(self._options.clients):
                group.create_task(self._client(number, stop))
        await self._settled(lambda now: not any(now[name] for name in verdict.COUNTS if name != "lanes"))
        await self._world.end()
        after = await self._settled(lambda now: all(rule.ok for rule in verdict.nothing_left(before, now)))
        whole = sum(count for name, count in self.ledger.outcomes.items() if name.endswith("whole"))
        return [
            *verdict.nothing_left(before, after),
            verdict.memory(self.samples),
            *verdict.answers(self.ledger.outcomes, self.ledger.unexplained_count, whole),
        ]

    async def _client(self, number: int, stop: asyncio.Event) -> None:
        """Two clients of three are good."""
        dice = random.Random(self._dice.random())  # noqa: S311
        if number % 3:
            await good.client(f"http://127.0.0.1:{self._port}", self._world.pick, self.ledger, dice, stop)
        else:
            await Rude(self._port, self._world.pick, self.ledger, dice, SILENCE).run(stop)

    async def _watch(self, stop: asyncio.Event) -> None:
        """Take samples, tell of them now and then, and end the load when its time is up."""
        end = self._began + self._options.minutes * 60
        tell = self._began + self._options.every
        while (now := time.monotonic()) < end:
            await asyncio.sleep(min(1.0, end - now))
            self.samples.append(await self._sample())
            if now >= tell:
                tell += self._options.every
                self._tell(self.samples[-1])
        stop.set()

    async def _sample(self) -> Sample:
        counts = await self._control.ask("counts", collect=self._options.collect)
        process = self._process
        tasks = sum(counts["tasks"].values())
        since = time.monotonic() - self._began
        open_ = (counts["connections"], counts["in_flight"], counts["held"])
        return Sample(since, process.private, process.fds, tasks, *open_)

    def _tell(self, sample: Sample) -> None:
        ledger = self.ledger
        print(
            f"{sample.seconds / 60:5.1f} min  {sum(ledger.outcomes.values()):7d} outcomes, "
            f"{ledger.unexplained_count} unexplained  {sample.memory / 1e6:6.1f} MB  {sample.fds:4d} fds  "
            f"{sample.tasks:4d} tasks  {sample.connections:4d} connections  "
            f"{sample.in_flight:3d} in flight  {sample.held:3d} held",
            flush=True,
        )

    async def _counts(self) -> Said:
        return await self._control.ask("counts", collect=True) | {"fds": self._process.fds}

    async def _settled(self, there: Callable[[Said], bool]) -> Said:
        """The counts once they are as wanted, or as they are when time is up."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not there(now := await self._counts()) and time.monotonic() < deadline:  # noqa: ASYNC110 - a process apart
            await asyncio.sleep(0.1)
        return now


async def soak(options: argparse.Namespace, log: IO[bytes]) -> tuple[Soak, list[Rule]]:
    """Run the router, the soak, and the router's own end."""
    port, control_port = free_port(), free_port()
    argv = python("bench.routing.proxy", port, 0, control_port, json.dumps(SETTINGS), interpreter=options.python)
    with running(argv, PROXY_CORE, control_port, output=log) as process:
        control = await Control.connect(control_port)
        run = Soak(process, control, port, options)
        rules = await run.run()
        control.close()
        status = await asyncio.to_thread(process.stop, STOP_SECONDS)
    rules.append(Rule("SIGTERM ends it with status 0", str(status), status == 0))
    return run, rules


def complaint(log: str) -> Rule:
    """Whether the router's own log tells of a fault of its own."""
    lines = [line for line in log.splitlines() if any(word in line for word in COMPLAINTS)]
    return Rule("complaints in the router's log", f"{len(lines)} {lines[:1]}" if lines else "0", not lines)


def _read(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=24, help="at once; two of three behave")
    parser.add_argument("--every", type=float, default=60, help="seconds between two lines of progress")
    parser.add_argument("--collect", action="store_true", help="collect the router's garbage before every sample")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the router (images have Debian's)")
    parser.add_argument("--json", type=Path, help="write outcomes, samples and verdict to this file")
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryFile() as log:
        try:
            run, rules = asyncio.run(soak(options, log))
        except BenchError as error:
            print(f"bench.soak: {error}\n{_read(log)[-3000:]}", file=sys.stderr)
            return 1
        said = _read(log)
    rules.append(complaint(said))
    for name, count in sorted(run.ledger.outcomes.items()):
        print(f"{count:8d}  {name}")
    for example in run.ledger.unexplained:
        print(f"unexplained: {example}")
    for rule in rules:
        print(f"{'ok  ' if rule.ok else 'FAIL'}  {rule.rule}: {rule.seen}")
    if options.json:
        rows = {
            "outcomes": run.ledger.outcomes,
            "unexplained": run.ledger.unexplained,
            "samples": [asdict(sample) for sample in run.samples],
            "verdict": [asdict(rule) for rule in rules],
        }
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if not all(rule.ok for rule in rules):
        print(said[-3000:], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
