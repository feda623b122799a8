"""Who tries too many wrong credentials waits. Pure: the clock is given.

Counted by address, of IPv6 by the network of 64 bits that one customer has. Only tries that failed count, and only
credentials that are not known are kept waiting, so nobody's good key stops working because a neighbour guesses.
"""

import ipaddress
from collections import OrderedDict

MOST = 20
"""Failed tries a minute."""
PEERS = 10_000
SECONDS = 60.0


class Throttle:
    """One per router; as each forgets by itself, a guesser gets `MOST` a minute from each."""

    def __init__(self, most: int = MOST, peers: int = PEERS) -> None:
        self._most, self._peers = most, peers
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait(self, peer: str, now: float) -> float:
        """Seconds until `peer` may try again; 0: now."""
        began, count = self._failed.get(network(peer), (now, 0))
        return max(0.0, began + SECONDS - now) if count >= self._most else 0.0

    def failed(self, peer: str, now: float) -> None:
        name = network(peer)
        began, count = self._failed.pop(name, (now, 0))
        if now - began >= SECONDS:
            began, count = now, 0
        self._failed[name] = (began, count + 1)
        while len(self._failed) > self._peers:
            self._failed.popitem(last=False)


def network(peer: str) -> str:
    """The part of an address that one guesser cannot change at will."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((address, 64), strict=False))
