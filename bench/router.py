"""What the router costs, against nginx, other projects' routers and nothing, on the same engine stand-ins in one run.

    python -m bench.router [--targets direct,nginx,router] [--parts whole,streams] [--repeats 3] [--seconds 3]
                           [--python /usr/bin/python3] [--json FILE]

The proxy under test has one core, load and engine the other, and no other proxy runs meanwhile. Every figure is the
median of interleaved repeats with their spread. `direct` is the floor: what load and engine need by themselves.
What each row means is in bench/README.md.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from subprocess import SubprocessError

from bench.routing import holding, measures, table
from bench.routing.measures import STREAMED, TRANSLATED, WHOLE, Measurement, Place
from bench.routing.nginx import nginx_engine
from bench.routing.processes import BenchError, free_port, python, running
from bench.routing.table import Row
from bench.routing.targets import LITELLM, LOAD_CORE, ROUTER, TARGETS, VLLM_ROUTER, Target

PARTS = ("whole", "streams", "ollama", "hold")
TRIES = 2
FLAWS = (BenchError, SubprocessError, OSError)
"""What ends one measurement of one target, and not the bench."""


class Session:
    """Some targets before one engine, measured in turn again and again: what changes on the machine hits all alike."""

    def __init__(self, targets: Sequence[Target], folder: Path, options: argparse.Namespace) -> None:
        self._targets, self._folder, self._options = targets, folder, options
        self._known: dict[str, measures.Figures] = {target.name: {} for target in targets}
        self._seen: dict[tuple[str, str], list[float]] = {}
        self._failed: dict[tuple[str, str], list[str]] = {}
        """By measurement and target: why it did not finish, each time. After TRIES it is not tried again."""

    def run(self, what: Sequence[Measurement]) -> list[Row]:
        """Rows of every measurement of every target."""
        for repeat in range(self._options.repeats + 1):  # the first is a warm-up
            for measurement in what:
                for target in self._targets:
                    if len(self._failed.get((measurement.name, target.name), ())) < TRIES:
                        progress(f"{measurement.name}: {target.name} {repeat}/{self._options.repeats}")
                        self._measure(measurement, target, keep=repeat > 0)
        progress("")
        return [row for measurement in what for row in self._rows(measurement)]

    def _measure(self, measurement: Measurement, target: Target, *, keep: bool) -> None:
        try:
            with target.awake():
                seen = measurement.run(self._place(target))
        except FLAWS as error:
            self._failed.setdefault((measurement.name, target.name), []).append(str(error))
            target.end()  # whatever it still does for those who left must not show in the next figures
            target.start()
            return
        for name, value in seen.items() if keep else ():
            self._seen.setdefault((name, target.name), []).append(value)

    def _place(self, target: Target) -> Place:
        options = self._options
        return Place(
            target.port,
            target.engine,
            target.process,
            self._folder,
            options.seconds,
            options.limit,
            self._known[target.name],
        )

    def _rows(self, measurement: Measurement) -> Iterator[Row]:
        for name, unit in measurement.units.items():
            for target in self._targets:
                why = self._failed.get((measurement.name, target.name), [])
                values = self._seen.get((name, target.name))
                if values:
                    yield table.row(name, unit, target.name, values)
                elif why:
                    yield Row(name, unit, target.name, None, None, None, f"{measurement.name}: {why[-1]}")


def measure(
    engine: list[str], port: int, what: Sequence[Measurement], names: Sequence[str], options: argparse.Namespace
) -> list[Row]:
    """Start the engine and the targets called `names` before it, measure, and end them all."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dormouse-bench-")))
        stack.enter_context(running(engine, LOAD_CORE, port))
        targets = [Target(name, port, folder, options.python) for name in names]
        for target in targets:
            progress(f"starting {target.name}")
            stack.callback(target.end)
            target.start()
        return Session(targets, folder, options).run(what)


def rows_of(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Everything that was asked for."""
    rows: list[Row] = []
    if "whole" in options.parts:
        port = free_port()
        rows += measure(nginx_engine(folder / "engine", port), port, WHOLE, options.targets, options)
    streaming = free_port()
    engine = python("bench.routing.engine", streaming)
    if "streams" in options.parts:
        rows += measure(engine, streaming, [STREAMED], options.targets, options)
    if "ollama" in options.parts and ROUTER in options.targets:
        rows += measure(engine, streaming, [TRANSLATED], [ROUTER], options)
    if "hold" in options.parts and ROUTER in options.targets:
        progress("hold release")
        seen = holding.releases(options.repeats, options.python)
        rows += [table.row(name, unit, ROUTER, [each[name] for each in seen]) for name, unit in holding.UNITS.items()]
        progress("")
    return rows


def progress(text: str) -> None:
    print(f"\r{text:<70}\r" if not text else f"\r{text:<70}", end="", file=sys.stderr, flush=True)


def words(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads a list of `known` words separated by commas, in the order in which they are known."""

    def read(text: str) -> list[str]:
        asked = {word.strip() for word in text.split(",")}
        if unknown := asked.difference(known):
            raise argparse.ArgumentTypeError(f"{sorted(unknown)} is none of {', '.join(known)}")
        return [word for word in known if word in asked]

    return read


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.router", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--targets", type=words(TARGETS), default=list(TARGETS), help=f"of {','.join(TARGETS)}")
    parser.add_argument("--parts", type=words(PARTS), default=list(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=3, help="repeats per figure after a warm-up")
    parser.add_argument("--seconds", type=int, default=3, help="length of one run of whole answers")
    parser.add_argument("--limit", type=float, default=20, help="seconds after which a run of streams is given up")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the router (images have Debian's)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if (os.cpu_count() or 1) < 2:
        print("bench.router needs two cores: one for the proxy, one for load and engine", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder:
            rows = rows_of(options, Path(folder))
    except BenchError as error:
        print(f"bench.router: {error}", file=sys.stderr)
        return 1
    print(table.figures(rows, options.targets))
    for note in table.notes(rows):
        print(f"did not finish: {note}")
    print()
    print(table.ratios(rows, options.targets))
    for rival in (VLLM_ROUTER, LITELLM):
        if rival in options.targets and ROUTER in options.targets:
            print(f"{rival} is ahead of the router in: {', '.join(table.behind(rows, rival)) or 'nothing'}")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
