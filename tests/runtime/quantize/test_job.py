"""The quantize Job's pid 1: outcome, exit code, progress, and what is done already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from http import client
from pathlib import Path

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.names import ENV_QUANTIZE_CONFIG
from dormouse_api.results import Marker, MarkerFile, Outcome, Progress, Quality, QuantizeResult
from dormouse_api.runtime import QuantizeConfig
from dormouse_runtime.pull import marker
from dormouse_runtime.quantize import job
from dormouse_runtime.settings import SettingsError
from tests.runtime.scripted.pod import free_port, until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config(tmp_path: Path) -> QuantizeConfig:
    return QuantizeConfig(
        source="hf://a/b",
        commit="abc",
        model_dir=str(tmp_path / "abc"),
        out_dir=str(tmp_path / "abc-int4"),
        method="works",
        cache_dir=str(tmp_path),
        admin_port=free_port(),
    )


class Run:
    """A Job's pod: its process, its port and its last word."""

    def __init__(self, config: QuantizeConfig, folder: Path) -> None:
        self.port, self.message = config.admin_port, folder / "termination"
        env = {
            **os.environ,
            ENV_QUANTIZE_CONFIG: config.model_dump_json(),
            "DORMOUSE_HOST": "127.0.0.1",
            "DORMOUSE_TERMINATION_LOG": str(self.message),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "tests.runtime.scripted.quantize_job"]
        self.process = subprocess.Popen(command, env=env, cwd=ROOT)

    def end(self) -> tuple[int, Outcome]:
        code = self.process.wait(60)
        return code, Outcome.model_validate_json(self.message.read_text())

    def progress(self) -> Progress | None:
        connection = client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/progress")
            return Progress.model_validate_json(connection.getresponse().read())
        except (OSError, client.HTTPException):
            return None
        finally:
            connection.close()


def test_a_finished_copy_is_told(config: QuantizeConfig, tmp_path: Path) -> None:
    code, outcome = Run(config, tmp_path).end()
    assert code == 0
    assert outcome.quantize is not None
    assert (outcome.quantize.directory, outcome.quantize.bytes) == ("abc-works", 5)


@pytest.mark.parametrize(
    ("part", "code", "reason", "words"),
    [
        ("QuantizationFailed", 42, Reason.QUANTIZATION_FAILED, "the fix"),
        ("NoSpace", 42, Reason.NO_SPACE, "the fix"),
        ("Corrupt", 42, Reason.CORRUPT, "the fix"),
        ("killed", 1, Reason.OUT_OF_MEMORY, "out of memory"),
        ("surprise", 1, Reason.ENGINE_FAILED, "something nobody foresaw"),
    ],
)
def test_a_failure_has_its_reason_and_exit_code(
    config: QuantizeConfig,
    tmp_path: Path,
    part: str,
    code: int,
    reason: Reason,
    words: str,
) -> None:
    ended, outcome = Run(config.model_copy(update={"method": part}), tmp_path).end()
    assert outcome.failure is not None
    assert (ended, outcome.failure.reason) == (code, reason)
    assert words in outcome.failure.message


def test_progress_is_served_and_sigterm_leaves_a_message(config: QuantizeConfig, tmp_path: Path) -> None:
    run = Run(config.model_copy(update={"method": "slow"}), tmp_path)
    until(lambda: (seen := run.progress()) and (seen.stage, seen.bytes) == ("quantizing", 30))
    run.process.send_signal(signal.SIGTERM)
    code, outcome = run.end()
    assert code == 1
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.INTERRUPTED


def folder(config: QuantizeConfig, **fields: object) -> None:
    out = Path(config.out_dir)
    out.mkdir()
    (out / "weights").write_bytes(b"12345")
    whole = Marker(
        source="s", commit="abc", quantization="works", files=(MarkerFile(path="weights", size=5, sha256=""),)
    )
    marker.write(out, whole.model_copy(update=fields))


def test_a_copy_that_is_there_is_not_made_again(config: QuantizeConfig, tmp_path: Path) -> None:
    folder(config)
    code, outcome = Run(config, tmp_path).end()
    assert code == 0
    assert outcome.quantize is not None
    assert (outcome.quantize.directory, outcome.quantize.seconds, outcome.quantize.bytes) == ("abc-int4", 0, 5)


def test_a_copy_that_is_there_tells_again_what_it_was_found_to_be(config: QuantizeConfig) -> None:
    measured = Quality(tokens=85, agreement=0.98, divergence=0.01)
    made = QuantizeResult(
        directory="abc-int4.partial", method="works", bytes=5, seconds=9, original_bytes=11, quality=measured
    )
    folder(config, made=made)
    assert job.done(config) == made.model_copy(update={"directory": "abc-int4", "seconds": 0.0})


@pytest.mark.parametrize(
    "fields",
    [
        {"commit": "other"},
        {"quantization": "int8"},
        {"files": (MarkerFile(path="weights", size=6, sha256=""),)},
        {"files": (MarkerFile(path="absent", size=5, sha256=""),)},
    ],
)
def test_another_or_a_torn_copy_does_not_count(config: QuantizeConfig, fields: dict[str, object]) -> None:
    folder(config, **fields)
    assert job.done(config) is None


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_wrong_configuration_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match=ENV_QUANTIZE_CONFIG):
        job.from_environment({ENV_QUANTIZE_CONFIG: text})
