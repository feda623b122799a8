"""The operator with a thousand models: convergence, looks per second, restarts, wakes in the middle of it all, memory.

    python -m bench.reconcile [--models 1000] [--profile cpu] [--json FILE] [--log FILE]

A real API server, etcd, scheduler and controllers; pods are kwok's. What the rows mean is in bench/README.md.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench.reconciling.phases import Run
from bench.reconciling.verdict import failed, table
from bench.reconciling.world import PROFILES, opened
from bench.routing.processes import BenchError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reconcile", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="what they run on; with gpu they take turns")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--log", type=Path, help="keep the operator's log in this file")
    options = parser.parse_args()
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        log = options.log or Path(scratch) / "operator.log"
        tell("starting the control plane (built first on a machine that has never: a quarter of an hour)")
        try:
            with opened() as world:
                rows = Run(world, log, options.models, options.profile, tell).all()
        except BenchError as error:
            sys.exit(f"bench.reconcile: {error}")
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    for measure in failed(rows):
        print(f"failed: {measure}", file=sys.stderr)
    return 1 if failed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
