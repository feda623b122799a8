"""How the inspect and pull pods reach the outside: bandwidth, authorities to trust, proxies. Values only.

All of it travels in the pods' environment, because those pods run in the models' namespaces, where nothing of the
release's own can be mounted. Nothing here is a secret: certificates are public, proxy URLs with a password are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dormouse_operator.decide.quantities import to_bytes

LEAST_BYTES_PER_SECOND = 64_000
"""A slower pull would look like one that stalls."""
MOST_CERTIFICATE_BYTES = 100_000
"""One string of a process's environment may have 128 KiB."""


class EgressError(ValueError):
    """A variable makes no sense; the message says which and how to set it."""


@dataclass(frozen=True)
class Egress:
    """What every pod that fetches weights is told."""

    bytes_per_second: int = 0
    """Most bytes a second of one pull, over all its connections; 0: unlimited."""
    ca_certificates: str = ""
    """PEM of authorities to trust beside the public ones."""
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "Egress":
        """From the operator's own environment; EgressError with the fix."""
        return cls(
            bytes_per_second=_bandwidth(env.get("DORMOUSE_PULL_BANDWIDTH", "")),
            ca_certificates=_certificates(env.get("DORMOUSE_PULL_CA_CERTIFICATES", "")),
            http_proxy=_proxy(env, "DORMOUSE_PULL_HTTP_PROXY"),
            https_proxy=_proxy(env, "DORMOUSE_PULL_HTTPS_PROXY"),
            no_proxy=env.get("DORMOUSE_PULL_NO_PROXY", ""),
        )

    def environment(self) -> dict[str, str]:
        """The environment of an inspect or pull container; what is not set is not in it."""
        values = {
            "DORMOUSE_MAX_BYTES_PER_SECOND": str(self.bytes_per_second) if self.bytes_per_second else "",
            "DORMOUSE_CA_CERTIFICATES": self.ca_certificates,
            "HTTP_PROXY": self.http_proxy,
            "HTTPS_PROXY": self.https_proxy,
            "NO_PROXY": self.no_proxy,
        }
        return {name: value for name, value in values.items() if value}


def _bandwidth(text: str) -> int:
    if not text:
        return 0
    try:
        rate = to_bytes(text)
    except ValueError as error:
        raise EgressError(f"DORMOUSE_PULL_BANDWIDTH: {error}, in bytes a second") from error
    if rate < LEAST_BYTES_PER_SECOND:
        raise EgressError(
            f"DORMOUSE_PULL_BANDWIDTH is {text}: set {LEAST_BYTES_PER_SECOND // 1000}k bytes a second or more, or none"
        )
    return rate


def _certificates(text: str) -> str:
    if text and "-----BEGIN CERTIFICATE-----" not in text:
        raise EgressError("DORMOUSE_PULL_CA_CERTIFICATES is no PEM: give it the authority's certificate, not its name")
    if len(text.encode()) > MOST_CERTIFICATE_BYTES:
        raise EgressError(
            f"DORMOUSE_PULL_CA_CERTIFICATES has more than {MOST_CERTIFICATE_BYTES} bytes: give it your own authorities "
            "only, the public ones are trusted anyway"
        )
    return text.strip()


def _proxy(env: Mapping[str, str], name: str) -> str:
    url = env.get(name, "")
    if "@" in url:
        raise EgressError(
            f"{name} holds a password, which everybody who may read Jobs would see: use a proxy without one"
        )
    if url and not url.startswith(("http://", "https://")):
        raise EgressError(f"{name} is {url!r}: set it to a URL such as http://proxy.example:3128")
    return url
