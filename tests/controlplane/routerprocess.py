"""`python -m tests.controlplane.routerprocess`: the router as its image runs it, on a machine without pods.

An EndpointSlice may not name loopback, where the engines of tests listen: connections to NOWHERE are led there.
"""

import sys

from dormouse_router.__main__ import main
from dormouse_router.dataplane.connection import Connection
from dormouse_router.dataplane.upstream import Pool

NOWHERE = "192.0.2.1"
"""An address for documentation, which nobody has."""


class Led(Pool):
    """The router's pool, with one address on loopback."""

    async def connect(self, host: str, port: int) -> Connection:
        assert host == NOWHERE, host
        return await super().connect("127.0.0.1", port)


if __name__ == "__main__":
    sys.modules["dormouse_router.dataplane.plane"].Pool = Led  # type: ignore[attr-defined]
    main()
