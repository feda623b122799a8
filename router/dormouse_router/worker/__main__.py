"""`python3 -m dormouse_router.worker`: a worker that is begun again however often it ends, until SIGTERM.

Everything that takes memory is imported by the child.
"""

import json
import os
import sys
import time

from dormouse_api.names import PORT_WORKER_OPS
from dormouse_router.worker.keeper import Keeper, Nest


def work(nest: Nest) -> int:
    """The child."""
    from dormouse_router.worker import process

    return process.main(nest)


def say(event: str, **more: object) -> None:
    """As structlog does in the child."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stderr.write(json.dumps({"event": event, **more, "timestamp": stamp}) + "\n")
    sys.stderr.flush()


def main() -> int:
    port = os.environ.get("DORMOUSE_WORKER_OPS_PORT", "")  # what is no number, the child complains of
    number = int(port) if port.isdigit() else PORT_WORKER_OPS
    return Keeper(work, (os.environ.get("DORMOUSE_HOST") or "0.0.0.0", number), say).run()


if __name__ == "__main__":
    sys.exit(main())
