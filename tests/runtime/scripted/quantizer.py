"""The quantize Job's worker, playing a part named by the method: see `main`."""

from __future__ import annotations

import os
import signal
import sys
import threading

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Progress, QuantizeResult
from dormouse_api.runtime import QuantizeConfig
from dormouse_runtime.quantize.progress import FAILURE, PROGRESS, RESULT, tell


def main() -> int:
    part = QuantizeConfig.model_validate_json(os.environ[names.ENV_QUANTIZE_CONFIG]).method
    if part == "works":
        tell(RESULT, QuantizeResult(directory="abc-works", method=part, bytes=5, seconds=1.5))
        return 0
    if part == "slow":
        tell(PROGRESS, Progress(stage="quantizing", bytes=30, total=100, bytes_per_second=3))
        threading.Event().wait()
    if part == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if part in {reason.value for reason in Reason}:
        tell(FAILURE, Failure(reason=Reason(part), message="the fix"))
        return 1
    raise RuntimeError("something nobody foresaw")


if __name__ == "__main__":
    sys.exit(main())
