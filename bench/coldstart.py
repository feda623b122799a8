"""How long a sleeping model takes to its first token, stage by stage, on the running cluster with a real engine.

    python -m bench.coldstart [--runs 3] [--json FILE]

`warm` finds the engine's files in the page cache and its compiled code on the volume. `cold` has neither: the volume's
cache folder is emptied and the machine's page cache dropped, which needs root on the node (the local cluster).
Cold and warm starts take turns, so that what else the machine does falls on both. Every figure is seconds; a stage's
figure is how long it lasted, from its own moment to the next one's (`scheduled`: until the container runs; `ready`:
until the router had the first token); `first token` is counted from the first byte of the request, and what the stages
do not explain (router, Lease, the way back) is `other`: more than 5 % of a start fails the bench. What each technique
brings is `bench.techniques`' to say.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from dev.cluster.layout import node_layout
from dormouse_api.names import GROUP, LABEL_MODEL, MODEL_PLURAL, SUBPATH_CACHE, weights_name

ROUTER = "http://127.0.0.1:11434"
QUESTION = "What is the capital of France?"
MODELS = f"{MODEL_PLURAL}.{GROUP}"
START_SECONDS = 600
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
OTHER, TOTAL = "other", "first token"
UNEXPLAINED = 0.05
WANTED = 0.5
"""Of a cold start's seconds, at most, for a warm one."""


class BenchError(Exception):
    """The bench cannot run as asked; the message says what to do."""


@dataclass(frozen=True)
class Row:
    cache: str
    """cold or warm."""
    run: int
    stage: str
    seconds: float


@dataclass(frozen=True)
class Target:
    """The model that is measured, through which router, by which kubectl."""

    name: str
    namespace: str
    router: str
    kubectl: tuple[str, ...]

    def read(self, *what: str) -> Any:
        """`kubectl get WHAT -o json` in the model's namespace."""
        return json.loads(self.run("get", *what, "-o", "json"))

    def run(self, *arguments: str, standard_input: str | None = None) -> str:
        command = [*self.kubectl, "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=standard_input, text=True, capture_output=True, check=False)
        if done.returncode:
            raise BenchError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.coldstart", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=3, help="starts per kind of cache (default: %(default)s)")
    parser.add_argument("--caches", default="cold,warm", help="kinds to measure, in order (default: %(default)s)")
    parser.add_argument("--repo", default="dormouse/tiny-chat", help="hub repository (default: %(default)s)")
    parser.add_argument("--router", default=ROUTER)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    target = Target("bench-coldstart", options.namespace, options.router, _kubectl())
    try:
        rows = _rows(target, options.repo, options.caches.split(","), options.runs)
    except (BenchError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(verdict(rows))
    totals = {(row.cache, row.run): row.seconds for row in rows if row.stage == TOTAL}
    rest = [row for row in rows if row.stage == OTHER]
    return int(any(abs(row.seconds) > UNEXPLAINED * totals[row.cache, row.run] for row in rest))


def _rows(target: Target, repo: str, caches: list[str], runs: int) -> list[Row]:
    """Every start that was asked for, of a model that exists only meanwhile."""
    _apply(target, repo)
    try:
        if "cold" not in caches:
            _sleep(target)
            _first_token(target)  # the start that fills the caches is not counted
        return [row for run in range(runs) for cache in caches for row in measure(target, cache, run)]
    finally:
        target.run("delete", MODELS, target.name, "--ignore-not-found", "--wait=false")


def measure(target: Target, cache: str, run: int) -> list[Row]:
    """One start: sleep, prepare the caches, call, and what the model's status says of it."""
    _sleep(target)
    if cache == "cold":
        _chill(target)
    before = _starts(target)
    total = _first_token(target)
    start = _last_start(target, before)
    stages = [*start["stages"], {"stage": TOTAL, "atMilliseconds": start["firstTokenMilliseconds"]}]
    spans = [
        (now["stage"], (after["atMilliseconds"] - now["atMilliseconds"]) / 1000)
        for now, after in itertools.pairwise(stages)
    ]
    explained = stages[-1]["atMilliseconds"] / 1000
    spans += [(OTHER, total - explained), (TOTAL, total)]
    print(f"{cache} {run + 1}: {total:.2f} s", file=sys.stderr, flush=True)
    return [Row(cache, run, stage, round(seconds, 3)) for stage, seconds in spans]


def table(rows: list[Row]) -> str:
    """Medians (and ranges) per stage, a column for each kind of cache."""
    caches = list(dict.fromkeys(row.cache for row in rows))
    stages = [stage for stage in dict.fromkeys(row.stage for row in rows) if stage not in (OTHER, TOTAL)]
    lines = [f"| {'stage':12} | " + " | ".join(f"{cache + ' (s)':>22}" for cache in caches) + " |"]
    lines.append(f"|{'-' * 14}|" + "|".join("-" * 23 + ":" for _ in caches) + "|")
    for stage in [*stages, OTHER, TOTAL]:
        cells = []
        for cache in caches:
            found = [row.seconds for row in rows if (row.cache, row.stage) == (cache, stage)]
            cells.append(f"{_cell(found):>22}")
        lines.append(f"| {stage:12} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(rows: list[Row]) -> str:
    """How warm starts compare with cold ones."""
    totals = {
        row.cache: [each.seconds for each in rows if (each.cache, each.stage) == (row.cache, TOTAL)] for row in rows
    }
    if not {"cold", "warm"} <= set(totals):
        return f"load average {os.getloadavg()[0]:.1f}"
    share = statistics.median(totals["warm"]) / statistics.median(totals["cold"])
    met = "met" if share <= WANTED else "missed"
    return f"warm is {share:.2f} of cold: {met} (at most {WANTED}); load average {os.getloadavg()[0]:.1f}"


def _cell(found: list[float]) -> str:
    if not found:
        return "-"
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def _kubectl() -> tuple[str, ...]:
    layout = node_layout()
    if os.environ.get("CLUSTER") != "current" and layout.kubeconfig.exists():
        return str(layout.bin / "kubectl"), "--kubeconfig", str(layout.kubeconfig)
    return ("kubectl",)


def _apply(target: Target, repo: str) -> None:
    spec = {
        "source": {"uri": f"hf://{repo}"},
        "quantization": "none",
        "engine": {"order": ["vllm"], "maxModelLen": 512},
        "scaling": {"idleSeconds": 600},
        "storage": {"share": False},  # its caches are emptied, and nobody else's
    }
    body = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "InferenceModel",
        "metadata": {"name": target.name},
        "spec": spec,
    }
    target.run("apply", "--server-side", "-f", "-", standard_input=json.dumps(body))
    target.run("wait", "--for=condition=Ready", f"{MODELS}/{target.name}", "--timeout=300s")


def _sleep(target: Target) -> None:
    """Send the model to sleep and wait until no pod of it is left."""
    body = {"model": target.name, "keep_alive": 0}
    httpx.post(f"{target.router}/api/generate", json=body, timeout=30, trust_env=False).raise_for_status()
    target.run("wait", "--for=delete", "pod", "-l", f"{LABEL_MODEL}={target.name}", "--timeout=120s")


def _chill(target: Target) -> None:
    """Empty the volume's cache folder and the machine's page cache."""
    claim = target.read("pvc", weights_name(target.name))
    volume = target.read("pv", claim["spec"]["volumeName"])
    folder = volume["spec"].get("hostPath", {}).get("path")
    if folder is None or not os.access(DROP_CACHES, os.W_OK):
        raise BenchError("a cold cache needs root on the node that holds the volume: use --caches warm here")
    cache = Path(folder, SUBPATH_CACHE)  # made by the first pod that mounts it
    for entry in cache.iterdir() if cache.exists() else ():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    os.sync()
    DROP_CACHES.write_text("3")


def _first_token(target: Target) -> float:
    """Seconds from the first byte of a streamed request to the first token of its answer."""
    body = {
        "model": target.name,
        "stream": True,
        "temperature": 0,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    url = f"{target.router}/v1/chat/completions"
    with httpx.Client(timeout=START_SECONDS, trust_env=False) as http:
        began = time.monotonic()
        with http.stream("POST", url, json=body) as answer:
            if answer.status_code != httpx.codes.OK:
                raise BenchError(f"{answer.status_code}: {answer.read().decode()}")
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))
                    if "error" in event:
                        raise BenchError(event["error"]["message"])
                    if event["choices"] and event["choices"][0]["delta"].get("content"):
                        return time.monotonic() - began
    raise BenchError("the answer ended without a token")


def _starts(target: Target) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = target.read(MODELS, target.name)["status"].get("coldStarts") or []
    return found


def _last_start(target: Target, before: list[dict[str, Any]]) -> dict[str, Any]:
    """The start that was not there `before`, once its first token is told too."""
    known = {start["at"] for start in before}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        fresh = [start for start in _starts(target) if start["at"] not in known]
        if fresh and "firstTokenMilliseconds" in fresh[0]:
            return fresh[0]
        time.sleep(0.2)
    raise BenchError(
        f"the status of {target.name} tells of no new start with its first token: look at the operator's log"
    )


if __name__ == "__main__":
    sys.exit(main())
