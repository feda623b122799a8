"""Offers to speak another protocol on the same connection, which are all declined. Pure: bytes to bytes."""

import re

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


def without_upgrade(data: bytes) -> bytes:
    """`data`, which begins with a head, with its Upgrade header under another name.

    Java's and curl's clients offer h2c with every request. A server may ignore that, but the parser would take the body
    for the other protocol.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest
