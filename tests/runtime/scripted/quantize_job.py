"""The runtime's own quantize Job, with the scripted worker. A process of its own: the Job collects every child."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

from dormouse_runtime.quantize import job

if __name__ == "__main__":
    sys.exit(asyncio.run(job.quantize(replace(job.from_environment(), worker="tests.runtime.scripted.quantizer"))))
