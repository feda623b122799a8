"""What the operator's autoscaling makes of bursts, ramps, a day and rare callers, beside other rules. Simulated.

    python -m bench.autoscale [--cold 30] [--slots 8] [--told 8] [--seeds 3] [--json FILE]

Every rule serves the same arrivals with the same pods. What the rows mean is in bench/README.md.
"""

import argparse
import json
import statistics
from pathlib import Path

from bench.scaling.rules import Dormouse, Knative, Mean, Rule
from bench.scaling.traces import TRACES, Trace
from bench.scaling.world import Outcome, Service, World

ROWS = ("within SLO", "wait p50 (s)", "wait p99 (s)", "pod-hours", "cold hits", "starts", "flaps")


def rules(service: Service) -> list[Rule]:
    """New ones: some keep a state."""
    slots = service.told or service.slots
    return [
        Dormouse(slots, service.cold_start),
        Dormouse(slots, service.cold_start, "dormouse, engines unasked", asks=False),
        Knative(slots),
        Mean(slots),
    ]


def figures(outcome: Outcome) -> list[float]:
    """In the order of ROWS."""
    return [
        outcome.attained,
        outcome.wait(0.5),
        outcome.wait(0.99),
        outcome.pod_seconds / 3600,
        outcome.cold,
        outcome.starts,
        outcome.flaps,
    ]


def measure(trace: Trace, service: Service, seeds: int) -> dict[str, list[float]]:
    """Medians over the seeds, by rule."""
    seen: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        for rule in rules(service):
            seen.setdefault(rule.name, []).append(figures(World(service, rule, seed).run(trace, seed)))
    return {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.autoscale", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--cold", type=float, default=30.0, help="seconds from a pod's start to its first request")
    parser.add_argument("--slots", type=int, default=8, help="requests a pod serves at once")
    parser.add_argument("--told", type=int, default=0, help="requests the rules believe that a pod serves at once")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    service = Service(slots=options.slots, told=options.told, cold_start=options.cold)
    found = {trace.name: measure(trace, service, options.seeds) for trace in TRACES}
    print(f"| trace | rule | {' | '.join(ROWS)} |")
    print(f"| --- | --- | {' | '.join('---:' for _ in ROWS)} |")
    for trace, by_rule in found.items():
        for rule, row in by_rule.items():
            cells = [f"{row[0]:.1%}", f"{row[1]:.1f}", f"{row[2]:.1f}", f"{row[3]:.2f}", *(f"{x:.0f}" for x in row[4:])]
            print(f"| {trace} | {rule} | {' | '.join(cells)} |")
    if options.json:
        options.json.write_text(json.dumps({"rows": ROWS, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
