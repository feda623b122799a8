"""The small parts: which files, how patient, how fast, what the marker and the message hold."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dormouse_api.conditions import PERMANENT, PULL_FAILURES, Reason
from dormouse_api.names import MARKER
from dormouse_api.results import EXIT_PERMANENT, Failure, Marker, MarkerFile, Outcome
from dormouse_runtime.pull import marker
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.patience import TRIES, Patience, patiently
from dormouse_runtime.pull.progress import Meter
from dormouse_runtime.pull.report import Report
from dormouse_runtime.pull.selection import RemoteFile, select
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.pull.verify import Check


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# ------------------------------------------------------------------------------------------------ selection


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["model.safetensors", "model.bin", "model.gguf", "tf_model.h5"], ["model.safetensors"]),
        (["a.safetensors", "config.json", "vocab.txt", "merges.txt", "tokenizer.model", "x.jinja"], None),
        (["a.safetensors", "README.md", "demo.png", ".gitattributes", "train.log"], ["a.safetensors"]),
        (["a.safetensors", "onnx/model.json", "original/consolidated.safetensors"], ["a.safetensors"]),
        (["model-00001-of-00002.safetensors", "consolidated.safetensors"], ["model-00001-of-00002.safetensors"]),
        (["consolidated.safetensors", "params.json"], None),
        (["unet/d.safetensors", "unet/d.fp16.safetensors"], ["unet/d.safetensors"]),
        (["unet/d.fp16.safetensors"], None),
        (["a.safetensors", "../evil.json", "/etc/evil.json"], ["a.safetensors"]),
        (["a.safetensors", "modeling_x.py", "LICENSE"], None),
    ],
)
def test_selection(paths: list[str], kept: list[str] | None) -> None:
    chosen = select([RemoteFile(path, 1, git_sha1="0" * 40) for path in paths])
    assert [file.path for file in chosen] == sorted(paths if kept is None else kept)


# ------------------------------------------------------------------------------------------------- patience


def failing(count: int, error: PullError) -> list[PullError | str]:
    return [*[error] * count, "done"]


@pytest.mark.parametrize(
    ("error", "failures", "waits", "ends"),
    [
        (PullError(Reason.NETWORK, ""), 4, [1, 2, 4, 8], "done"),
        (PullError(Reason.NETWORK, ""), 5, [1, 2, 4, 8], Reason.NETWORK),
        (PullError(Reason.RATE_LIMITED, "", 60), 1, [60], "done"),
        (PullError(Reason.RATE_LIMITED, "", 61), 1, [], Reason.RATE_LIMITED),
        (PullError(Reason.GATED, ""), 1, [], Reason.GATED),
    ],
)
def test_patience(error: PullError, failures: int, waits: list[float], ends: str) -> None:
    steps, waited = iter(failing(failures, error)), list[float]()

    def call() -> str:
        step = next(steps)
        if isinstance(step, PullError):
            raise step
        return step

    try:
        found = patiently(call, Patience(1.0, waited.append))
    except PullError as raised:
        found = raised.reason
    assert (found, waited) == (ends, waits)


def test_progress_renews_patience() -> None:
    waited: list[float] = []
    patience = Patience(1.0, waited.append)
    for _ in range(3 * TRIES):
        patience.after(PullError(Reason.NETWORK, ""), progressed=True)
    assert waited == [1.0] * 3 * TRIES


# --------------------------------------------------------------------------------------- meter and throttle


def test_rate_and_eta_over_a_sliding_window() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.start(total=1000, have=100)
    for _ in range(20):
        clock.now += 1
        meter.add(10, "w")
    seen = meter.progress()
    assert (seen.bytes, seen.bytes_per_second, seen.eta_seconds, seen.file) == (300, 10.0, 70.0, "w")
    for _ in range(10):
        clock.now += 1
        meter.add(50, "w")
    assert meter.progress().bytes_per_second == 50.0
    clock.now += 20
    assert (meter.progress().bytes_per_second, meter.progress().eta_seconds) == (0.0, None)


def test_bytes_thrown_away_are_not_shown_as_a_step_back() -> None:
    meter = Meter(Clock())
    meter.start(total=100, have=0)
    meter.add(60, "w")
    meter.drop(60)
    assert meter.progress().bytes == 60
    meter.add(10, "w")
    assert meter.progress().bytes == 60
    meter.add(50, "w")
    assert (meter.progress().bytes, meter.fetched) == (60, 120)
    meter.add(40, "w")
    assert meter.progress().bytes == 100


def test_silence_counts_from_the_last_byte_unless_the_hub_asked_for_it() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.start(100, 0)
    clock.now += 5
    assert meter.silent_seconds == 5
    meter.excuse(30)
    meter.add(1, "w")
    clock.now += 31
    assert meter.silent_seconds == 1


def test_work_on_the_volume_is_no_silence() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.start(100, 50)
    clock.now += 2
    with meter.volume(), meter.volume():
        clock.now += 300
        assert meter.silent_seconds == 0
    clock.now += 5
    assert meter.silent_seconds == 7
    with meter.volume():
        clock.now += 5
        meter.add(1, "w")
        clock.now += 5
    assert meter.silent_seconds == 0


def test_what_came_before_the_fetching_does_not_count_in_its_rate() -> None:
    clock = Clock()
    meter = Meter(clock)
    clock.now += 8
    meter.start(1000, 0)
    for _ in range(4):
        clock.now += 1
        meter.add(100, "w")
    assert (meter.progress().bytes_per_second, meter.progress().eta_seconds) == (100, 6)


# -------------------------------------------------------------------------------------- hashes and the marker


def test_a_check_wants_all_bytes_and_the_right_ones() -> None:
    content = b"some bytes"
    git = hashlib.sha1(b"blob 10\0" + content, usedforsecurity=False).hexdigest()
    for file in (
        RemoteFile("w", 10, sha256=hashlib.sha256(content).hexdigest()),
        RemoteFile("w", 10, git_sha1=git),
    ):
        outcomes = []
        for blocks in ([content], [content[:4], content[4:]], [content[:-1]], [content, b"x"], [b"some bytez"]):
            check = Check(file)
            for block in blocks:
                check.update(block)
            outcomes.append(check.right)
        assert outcomes == [True, True, False, False, False]


def test_marker_round_trip_and_wholeness(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"12345")
    written = Marker(source="hf://a/b", commit="c", files=(MarkerFile(path="w", size=5, sha256="0"),))
    assert marker.read(tmp_path) is None
    marker.write(tmp_path, written)
    assert marker.read(tmp_path) == written
    assert [p.name for p in sorted(tmp_path.iterdir())] == [MARKER, "w"]
    assert marker.whole(tmp_path, written)
    (tmp_path / "w").write_bytes(b"1234")
    assert not marker.whole(tmp_path, written)
    (tmp_path / "w").unlink()
    assert not marker.whole(tmp_path, written)


@pytest.mark.parametrize("text", ["", "{", '{"source": 1}', "\x00"])
def test_a_marker_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    assert marker.read(tmp_path) is None


# ----------------------------------------------------------------------------------- settings, errors, report


@pytest.mark.parametrize("reason", sorted(PULL_FAILURES))
def test_exit_codes(reason: Reason) -> None:
    assert PullError(reason, "").exit_code == (EXIT_PERMANENT if reason in PERMANENT else 1)


def test_defaults() -> None:
    settings = Settings.read({"DORMOUSE_SOURCE": "hf://acme/tiny"})
    assert settings == Settings("hf://acme/tiny")
    assert (settings.models, settings.progress_port, settings.stall_seconds) == (Path("/models"), 8001, 60)
    assert settings.endpoint == "https://huggingface.co"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DORMOUSE_PROGRESS_PORT", "x"),
        ("DORMOUSE_STALL_SECONDS", "0"),
        ("DORMOUSE_MAX_BYTES_PER_SECOND", "-1"),
        ("DORMOUSE_BACKOFF_SECONDS", "1s"),
    ],
)
def test_senseless_numbers_name_their_variable(name: str, value: str) -> None:
    with pytest.raises(PullError, match=name):
        Settings.read({"DORMOUSE_SOURCE": "hf://acme/tiny", name: value})


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f42d", '"'])
def test_a_long_message_is_cut_to_what_the_kubelet_keeps(tmp_path: Path, letter: str) -> None:
    report = Report(tmp_path / "log")
    report.write(Outcome(failure=PullError(Reason.NETWORK, letter * 9000).failure()))
    text = (tmp_path / "log").read_text()
    assert len(text.encode()) <= 4000
    found = Outcome.model_validate_json(text).failure
    assert found is not None
    assert found.message.startswith(letter * 100)


def test_the_message_is_replaced_whole(tmp_path: Path) -> None:
    report = Report(tmp_path / "log")
    report.write(Outcome(failure=Failure(reason=Reason.NETWORK, message="x" * 500)))
    report.interrupted("short")
    assert json.loads((tmp_path / "log").read_text()) == {"failure": {"reason": "Interrupted", "message": "short"}}


def test_an_unwritable_message_is_told_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Report(tmp_path / "none" / "log", ("hidden",)).interrupted("hidden")
    said = capsys.readouterr().err
    assert "could not be written" in said
    assert "hidden" not in said


def test_the_puller_needs_no_engine_and_no_web_framework() -> None:
    heavy = {"torch", "transformers", "vllm", "fastapi", "uvicorn", "prometheus_client"}
    script = f"import sys, dormouse_runtime.pull.__main__; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
