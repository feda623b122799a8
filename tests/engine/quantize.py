"""The quantize Job, played: an empty copy with its marker, and the outcome where the operator reads it."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from tests.engine.start import Script

TERMINATION_LOG = Path("/dev/termination-log")
MARKER = ".dormouse.json"
PERMANENT = 42


def quantize(config: dict[str, Any], script: Script, log: Path = TERMINATION_LOG) -> int:
    """Write the copy's marker and the outcome; returns the exit code. `config` is DORMOUSE_QUANTIZE."""
    if script.quantize_fail is not None:
        failure = {"reason": "QuantizationFailed", "message": script.quantize_fail}
        _say(log, {"failure": failure})
        return PERMANENT
    began = time.monotonic()
    time.sleep(script.quantize_seconds)
    target = Path(config["out_dir"])
    target.mkdir(parents=True, exist_ok=True)
    marker = {
        "source": config.get("source", ""),
        "commit": config.get("commit", ""),
        "quantization": config["method"],
        "files": [],
        "tools": {"scripted": "1"},
    }
    partial = target / f"{MARKER}.part"
    partial.write_text(json.dumps(marker))
    partial.rename(target / MARKER)
    seconds = round(time.monotonic() - began, 3)
    _say(log, {"quantize": {"directory": target.name, "method": config["method"], "bytes": 0, "seconds": seconds}})
    return 0


def _say(log: Path, outcome: dict[str, Any]) -> None:
    text = json.dumps(outcome)
    print(text, flush=True)  # noqa: T201 - the Job's log
    with contextlib.suppress(OSError):
        log.write_text(text)
