"""What the supervisor itself holds of the pod's memory: at most 60 MiB, whatever its engine says and it is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.scripted.pod import Pod, scripted

pytestmark = pytest.mark.slow

MOST = 60 * 2**20
ASKED = 200


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """Its engine talks 20 MB, and 64 MiB of weights are read ahead of it."""
    weights = tmp_path / "0" / "loud" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    size = 64 * 2**20
    head = json.dumps({"weights": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    weights.write_bytes(len(head).to_bytes(8, "little") + head + bytes(size))
    pod = scripted(tmp_path, "loud", start_seconds=60)
    yield pod
    pod.close()


def kibibytes(pid: int, line: str) -> int:
    (found,) = re.findall(rf"^{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found)


def test_the_supervisor_is_small_at_its_highest(pod: Pod) -> None:
    while not pod.ready():
        assert pod.process.poll() is None, pod.log()[-2000:]
    for path in ("/state", "/diag", "/metrics", "/readyz"):
        for _ in range(ASKED):
            assert pod.get(path)[0] == 200
    peak, now = (kibibytes(pod.process.pid, line) * 1024 for line in ("VmHWM", "VmRSS"))
    print(f"supervisor: {now / 2**20:.1f} MiB, {peak / 2**20:.1f} MiB at its highest")  # noqa: T201
    assert peak <= MOST
    lines = pod.get("/metrics")[1].splitlines()
    (told,) = [
        line.split()[1] for line in lines if line.startswith("dormouse_runtime_supervisor_resident_memory_bytes")
    ]
    assert abs(int(told) - now) < 2**21
