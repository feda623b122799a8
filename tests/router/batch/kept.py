"""A keeper over children that do little, and soon: `python -m tests.router.batch.kept PORT HOW`."""

import contextlib
import os
import signal
import sys
import time

from dormouse_router.worker import keeper
from dormouse_router.worker.__main__ import say
from dormouse_router.worker.keeper import Keeper, Nest

HASTY = {"SILENT_SECONDS": 0.5, "ANSWER_SECONDS": 0.2}
"""Not with a child that is to live: on a busy machine its beats come late."""


def crash(_: Nest) -> int:
    raise ZeroDivisionError


def fall_silent(nest: Nest) -> int:
    os.write(nest.beat, b".")
    signal.pause()
    return 0


def stay(nest: Nest) -> int:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    assert nest.ops is not None
    while not stopped:
        os.write(nest.beat, b".")
        with contextlib.suppress(BlockingIOError):
            connection, _ = nest.ops.accept()
            with connection:
                connection.settimeout(10)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nat work")
        time.sleep(0.05)
    os.write(2, b'{"event": "drained"}\n')
    return 0


if __name__ == "__main__":
    how = {"crash": crash, "silent": fall_silent, "stay": stay}[sys.argv[2]]
    for name, seconds in HASTY.items():
        assert hasattr(keeper, name)
        if how is not stay:
            setattr(keeper, name, seconds)
    keeper.pause = lambda failures: 0.05
    sys.exit(Keeper(how, ("127.0.0.1", int(sys.argv[1])), say).run())
