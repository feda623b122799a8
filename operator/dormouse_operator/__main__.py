"""The operator's entry point: environment, logging, signals. Everything else is handed down."""

import asyncio
import logging
import os
import signal
import sys

import structlog
import uvloop

from dormouse_operator.process import run
from dormouse_operator.settings import Settings, SettingsError

LONGEST_LINE = 600


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
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, stop)


if __name__ == "__main__":
    try:
        told = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.exit(f"dormouse-operator: {error}")
    configure_logging(told.log_level)
    uvloop.run(main(told))
