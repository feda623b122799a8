"""What every process of the router's image does first: its log, and what its garbage collector looks at.

Knows nothing of what runs, and imports next to nothing: the batch worker is a process of its own, and has no room for
what only a router needs.
"""

import ctypes
import gc
import logging
import sys

import structlog

from dormouse_router.recent import Concealing, Recent, conceal

_ARENA_MAX = -8
"""glibc's M_ARENA_MAX."""


def one_arena() -> None:
    """What threads have freed is there for all of them. glibc keeps it for each thread apart, which for pieces of files
    that are read and looked at in threads comes to 10 MB and more; with other libraries nothing is done. Call it before
    there are threads."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_ARENA_MAX, 1)


def tune_gc() -> None:
    """What was made at the start stays for ever and need not be looked at; young garbage is mostly acyclic."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


def set_up_log(recent: Recent) -> None:
    """Lines of JSON on stderr; `recent` remembers the last errors."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(Concealing("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            conceal,
            recent,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
