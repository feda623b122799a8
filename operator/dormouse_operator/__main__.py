"""The operator's entry point: environment, logging, signals. Everything else is handed down."""

import asyncio
import gc
import logging
import os
import signal
import sys

import structlog
import uvloop

from dormouse_api import ending
from dormouse_api.masking import without_secrets
from dormouse_operator.election import LostLeadershipError
from dormouse_operator.process import run
from dormouse_operator.settings import Settings, SettingsError

log = logging.getLogger(__name__)

LONGEST_LINE = 600
SWITCH_SECONDS = 0.001
"""Between two threads' turns at the interpreter. kopf's is busy with its first lists while ours has wakes to answer."""


def conceal(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Whatever answers and errors of others say, no credential is in a line."""
    for name in ("event", "exception"):
        if name in event:
            event[name] = without_secrets(str(event[name]))
    return event


def shorten(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """kopf repeats whole answers of the API server, once per watch and try."""
    text = str(event.get("event", ""))
    if len(text) > LONGEST_LINE:
        event["event"] = text[:LONGEST_LINE] + "..."
    return event


def configure_logging(level: str) -> None:
    """JSON lines on stderr for our loggers and kopf's alike."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        conceal,
        shorten,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf prints whole objects when it is asked for more
    logging.getLogger("kopf").setLevel(max(logging.INFO, logging.getLevelName(level)))
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # that it handles no signals is on purpose
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # one line per event otherwise


async def main(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; where the lead is lost, the process ends here."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await run(settings, stop)
    except LostLeadershipError as error:
        log.error("%s: this process ends, so that only one acts", error)
        logging.shutdown()
        os._exit(1)  # the loop's own end waits for connections on which nobody answers any more


if __name__ == "__main__":
    try:
        told = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.exit(f"dormouse-operator: {without_secrets(str(error))}")
    configure_logging(told.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what was imported is never garbage: a full collection need not walk through it
    ending.run(main(told), uvloop.new_event_loop)
