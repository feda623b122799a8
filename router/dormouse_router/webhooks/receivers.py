"""Which addresses may be called for somebody else, and which never. Pure: names are resolved elsewhere.

Whoever makes a prediction names a URL, and the router calls it from within the cluster. So a URL is refused when it is
given (its form, its port, an address in it), and the address is judged again when it is connected to: a name may mean
another one by then.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MOST_URL = 2048
PORTS = (443, 8443)
_DEFAULT_PORTS = {"https": 443, "http": 80}
_PLAIN = re.compile(r"[!-;=?-\[\]_a-z~]+", re.ASCII)
"""No blanks, no control characters, no backslash: nothing that two readers of URLs take differently."""
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


class UrlError(ValueError):
    """The URL is not called; the sentence says why, and what would be."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a webhook goes: what its URL says, taken apart once."""

    scheme: str
    host: str
    """A name in lower case, or an address without brackets."""
    port: int
    path: str
    query: str
    address: Address | None = None
    """Where the host is one."""
    trusted: bool = False
    """The operator named it: it may be in the cluster's own networks."""


@dataclass(frozen=True, slots=True)
class _Name:
    """Of the operator's allow list: a host, or all below a domain."""

    host: str
    below: bool
    port: int | None

    def fits(self, host: str, port: int) -> bool:
        named = host.endswith(f".{self.host}") if self.below else host == self.host
        return named and self.port in (None, port)


class Receivers:
    """The operator's rules."""

    def __init__(self, allowed: Sequence[str] = (), ports: Sequence[int] = PORTS) -> None:
        """`allowed`: names, `*.domain`, each with or without a port, and networks. ValueError where one is neither."""
        self._ports = tuple(ports)
        self._networks: list[Network] = []
        self._names: list[_Name] = []
        for entry in allowed:
            network = _network(entry)
            if network is not None:
                self._networks.append(network)
            else:
                self._names.append(_name(entry))

    def receiver(self, url: str, *, trusted: bool = False) -> Receiver:
        """What `url` means. UrlError where it must not be called.

        `trusted`: it is the operator's own, which may use any port, http, and the cluster's networks.
        """
        parts = _split(url)
        host, address = _host(parts)
        port = _port(parts)
        trusted = trusted or any(name.fits(host, port) for name in self._names)
        allowed = trusted or (address is not None and self._within(address))
        if not allowed:
            self._check_public(parts.scheme, host, port, address)
        if address is not None and (reason := self.refused(address, trusted=trusted)):
            raise UrlError(f"{host} is {reason}: name a receiver that the public internet reaches")
        return Receiver(parts.scheme, host, port, parts.path or "/", parts.query, address, trusted)

    def _check_public(self, scheme: str, host: str, port: int, address: Address | None) -> None:
        if scheme != "https":
            raise UrlError("a webhook must be an https:// address")
        if port not in self._ports:
            raise UrlError(f"port {port} is not called: use one of {', '.join(map(str, self._ports))}")
        if address is None and "." not in host:
            raise UrlError(f"'{host}' is no name of the public internet")

    def refused(self, address: Address, *, trusted: bool = False) -> str | None:
        """Why `address` must not be connected to, in words; None where it may be. `trusted`: as of a Receiver."""
        if self._within(address):
            return None
        meant = _meant(address)
        if meant is None:
            return "an address of a tunnel"
        for unfit, word in _NEVER:
            if getattr(meant, unfit):
                return f"an address {word}"
        if getattr(meant, "is_site_local", False) or not meant.is_global:
            return None if trusted else "a private address"
        return None

    def _within(self, address: Address) -> bool:
        forms = {address, _meant(address) or address}
        return any(form in network for network in self._networks for form in forms)


_NEVER = (
    ("is_unspecified", "of no host"),
    ("is_loopback", "of the router itself"),
    ("is_link_local", "of the link (metadata services are there)"),
    ("is_multicast", "of many hosts"),
    ("is_reserved", "that is reserved"),
)


def _meant(address: Address) -> Address | None:
    """The address that is reached by it; None where nobody can say."""
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None or address.sixtofour is not None or address.teredo is not None:
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _split(url: str) -> SplitResult:
    if len(url) > MOST_URL:
        raise UrlError(f"the address is longer than {MOST_URL} characters")
    if not _PLAIN.fullmatch(url.lower()):
        raise UrlError("the address has characters that are not of a URL: write names in punycode, others as %XX")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UrlError(f"the address is no URL: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise UrlError("a webhook must be an https:// address")
    if "@" in parts.netloc:
        raise UrlError("an address with a user or a password in it is not called: a secret signs each webhook")
    return parts


def _host(parts: SplitResult) -> tuple[str, Address | None]:
    try:
        host = (parts.hostname or "").removesuffix(".")
    except ValueError as error:
        raise UrlError(f"the address is no URL: {error}") from error
    if "[" in parts.netloc:
        return _literal(host)
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # what ends in a number is an address to whoever resolves it: 2130706433, 0177.1 and 0x7f.1 are all 127.0.0.1
        return _literal(host)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlError(f"'{host[:80]}' is no host name")
    return host, None


def _literal(host: str) -> tuple[str, Address]:
    try:
        address = ip_address(host)
    except ValueError as error:
        raise UrlError(f"'{host[:80]}' is no address: write it as 192.0.2.1 or [2001:db8::1]") from error
    return str(address), address


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise UrlError(f"the address is no URL: {error}") from error
    return _DEFAULT_PORTS[parts.scheme] if port is None else port


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None


def _name(entry: str) -> _Name:
    host, _, port = entry.lower().partition(":")
    below, bare = host.startswith("*."), host.removeprefix("*.")
    if not bare or not all(_LABEL.fullmatch(label) for label in bare.split(".")) or (port and not port.isdigit()):
        raise ValueError(f"'{entry}' is no receiver: write a name, *.domain, name:port or a network such as 10.0.0.0/8")
    return _Name(bare, below, int(port) if port else None)
