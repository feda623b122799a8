"""The quantizer image's entry: the Job alone, for the image holds no engine."""

from __future__ import annotations

import asyncio
import sys

from dormouse_runtime.quantize import job
from dormouse_runtime.settings import SettingsError

if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(job.quantize(job.from_environment())))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the pod's log
        sys.exit(2)
