"""From which address a request comes, where the proxies before the router say so. Pure.

Whoever sends a request may write any X-Forwarded-For into it; each proxy on its way adds, last, the address that it was
reached from. So the list is believed from its end, as far as those who wrote it are trusted.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

FORWARDED = b"x-forwarded-for"
MOST = 32
"""Addresses of a list that are looked at."""


class Proxies:
    """Of one router."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        """`networks`: addresses, or networks such as 10.0.0.0/8. ValueError where one is neither."""
        self._networks = tuple(ip_network(each) for each in networks)

    def origin(self, peer: str, forwarded: bytes | None) -> str:
        """The last address that no trusted proxy has; `peer` is the connection's, `forwarded` the header's line."""
        if not self._networks or not forwarded:
            return peer
        for entry in reversed(forwarded.decode("latin-1").rsplit(",", MOST)[-MOST:]):
            if not self._trusted(peer):
                break
            if (found := _address(entry.strip())) is None:
                break
            peer = str(found)
        return peer

    def _trusted(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """As proxies write it: some add the port, some brackets. Of an IPv4 address in an IPv6 one, the former."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
