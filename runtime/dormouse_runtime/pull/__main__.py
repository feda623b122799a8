"""`python -m dormouse_runtime.pull inspect|fetch|adapter|sweep|bind`: the Job's process.

Exit codes: 0 done; 42 a permanent failure, which the Job's podFailurePolicy must not retry; 143 ended by SIGTERM; 1 any
other failure, which the Job's back-off tries again. The termination message holds the result or the reason.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Outcome
from dormouse_runtime.pull import space
from dormouse_runtime.pull.adapter import adapter
from dormouse_runtime.pull.bind import bind
from dormouse_runtime.pull.errors import EXIT_RETRY, EXIT_TERMINATED, PullError
from dormouse_runtime.pull.fetch import fetch
from dormouse_runtime.pull.inspect import inspect
from dormouse_runtime.pull.progress import Meter, ProgressServer
from dormouse_runtime.pull.report import Report
from dormouse_runtime.pull.settings import Settings, termination_log
from dormouse_runtime.pull.sweep import sweep


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do the stage, leave its outcome in the termination message, and give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dormouse_runtime.pull", description="Pull a model's files.")
    parser.add_argument("stage", choices=("inspect", "fetch", "adapter", "sweep", "bind"))
    stage = parser.parse_args(arguments).stage
    report = Report(termination_log(environ))
    try:
        if stage == "sweep":
            report.interrupted("the removal of old folders was cut off; the next try goes on")
            outcome = Outcome(sweep=sweep(environ))
        elif stage == "bind":
            report.interrupted("the list of adapters was not written; the next try writes it")
            outcome = Outcome(bind=bind(environ))
        else:
            settings = Settings.read(environ)
            report = Report(settings.termination_log, settings.secrets)
            outcome = _run(stage, settings, report)
    except PullError as error:
        report.write(Outcome(failure=error.failure()))
        report.log(f"{stage} failed", reason=error.reason, why=error.message)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator must hear of it
        words = f"{type(error).__name__}: {error}"[:500]
        known = space.unwritable(error) if isinstance(error, OSError) else None
        unknown = Failure(reason=Reason.JOB_FAILED, message=f"{stage} broke off ({words})")
        report.write(Outcome(failure=known.failure() if known is not None else unknown))
        report.log(f"{stage} broke off", why=words)
        return EXIT_RETRY
    report.write(outcome)
    report.log(f"{stage} done", result=outcome.model_dump(exclude_none=True))
    return 0


def _run(stage: str, settings: Settings, report: Report) -> Outcome:
    report.interrupted(f"{stage} of {settings.source} was cut off; the next try goes on from there")
    meter = Meter()

    def leave(*_: object) -> None:
        """SIGTERM: say how far it came and go at once. What is on the volume needs no goodbye."""
        seen = meter.progress()
        report.interrupted(
            f"{stage} was stopped at {seen.bytes} of {seen.total} bytes; the next try goes on from there"
        )
        os._exit(EXIT_TERMINATED)

    # As pid 1 of a pod the process would not even notice the signal without a handler.
    signal.signal(signal.SIGTERM, leave)
    if stage == "inspect":
        return Outcome(inspect=inspect(settings))
    if settings.progress_port:
        ProgressServer(meter, settings.progress_port)
    if stage == "adapter":
        return Outcome(adapter=adapter(settings, meter))
    return Outcome(pull=fetch(settings, meter))


if __name__ == "__main__":
    code = main(sys.argv[1:], os.environ)
    sys.stderr.flush()
    os._exit(code)  # a transfer that waits for a silent hub must not keep a failed process alive
