"""When what the operator shows or trusts will not be good any more, as a metric. No secret is kept or told.

`service-account`: its own token at the API server, which the kubelet renews long before its end, so one that comes
near it is not being renewed. `pull-authority`: the first of the authorities that pulls trust beside the public ones.
"""

import base64
import binascii
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dormouse_api import metrics as names

TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def of_token(token: str) -> float | None:
    """Seconds since the epoch at which a JSON web token ends (RFC 7519, `exp`); None where it does not tell."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    ends = claims.get("exp") if isinstance(claims, dict) else None
    return float(ends) if isinstance(ends, int | float) and not isinstance(ends, bool) else None


def of_authorities(pem: str) -> float | None:
    """Seconds since the epoch at which the first of these authorities ends; None where there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):  # whoever pulls says what is wrong with them
        return None
    ends = [str(found["notAfter"]) for found in context.get_ca_certs() if "notAfter" in found]
    return min(map(ssl.cert_time_to_seconds, ends), default=None)


class Expiries(Collector):
    """The token is read again each time: it is replaced while the process runs."""

    def __init__(self, authorities: str, token: Path = TOKEN) -> None:
        """`authorities`: PEM, or nothing."""
        self._authorities = of_authorities(authorities) if authorities else None
        self._token = token

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            names.CREDENTIAL_EXPIRY, "When a credential ends, in seconds since the epoch", labels=["credential"]
        )
        try:
            token = of_token(self._token.read_text())
        except OSError:  # outside a cluster there is none
            token = None
        for credential, ends in (("service-account", token), ("pull-authority", self._authorities)):
            if ends is not None:
                family.add_metric([credential], ends)
        yield family
