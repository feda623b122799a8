"""Asks how much of the original a finished copy kept, in a process of its own: the check never costs the copy.

It is skipped with a word where memory does not suffice, where it takes too long, or where the model writes no texts.
Imports nothing heavy; `compare` does the work.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pydantic import ValidationError

from dormouse_api.results import Quality

COMPARER = "dormouse_runtime.quantize.compare"
MARK = "[dormouse] quality "
SECONDS = 900
"""Loading both and reading the texts, at most."""
BESIDE = 3 * 2**29
"""Bytes beside a model's weights: libraries, what both say of some hundred tokens, what a layer takes while it runs."""
WRITES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def measure(source: Path, target: Path, remote_code: bool, seconds: float = SECONDS) -> Quality:
    """The quality of the copy in `target` of the model in `source`; never an exception."""
    if word := unfit(source):
        return Quality(tokens=0, skipped=word)
    code = ["--remote-code"] if remote_code else []
    command = [sys.executable, "-P", "-m", COMPARER, str(source), str(target), *code]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return Quality(tokens=0, skipped=f"it would have taken more than {seconds:.0f} s on this machine")
    told = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    try:
        return Quality.model_validate_json(told[-1])
    except (IndexError, ValidationError):
        if done.returncode == -9:
            return Quality(tokens=0, skipped="the comparison ran out of memory")
        last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "it said nothing")
        return Quality(tokens=0, skipped=f"the two could not be compared: {last}"[:500])


def unfit(source: Path) -> str | None:
    """Why this model is not compared here, if so."""
    config = json.loads((source / "config.json").read_text())
    names = [str(name) for name in config.get("architectures") or []]
    if not any(name.endswith(WRITES) for name in names):
        return f"only models that write texts are compared ({', '.join(names) or 'no architecture is named'})"
    weights = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    needed, free = weights + weights // 10 + BESIDE, free_memory()
    if needed > free:
        return (
            f"{needed / 2**30:.1f} GiB of memory would be needed, {free / 2**30:.1f} GiB are free: raise the memory "
            "limit of the RuntimeProfile and make the copy anew to have it measured"
        )
    return None


def free_memory(cgroup: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes this process may still take: what the machine has, and what the container's limit leaves."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return free
    if limit == "max":
        return free
    return min(free, int(limit) - used + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0)))
