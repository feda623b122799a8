"""Which authorities a pull trusts: the public ones, and those the cluster's administrator names."""

from __future__ import annotations

import ssl

import httpx2

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError


def trust(certificates: str) -> ssl.SSLContext:
    """What to verify servers with: the public authorities, and those of `certificates` (PEM)."""
    context = httpx2.create_ssl_context()
    if certificates:
        try:
            context.load_verify_locations(cadata=certificates)
        except ssl.SSLError as error:
            raise PullError(
                Reason.NETWORK, "the chart's caCertificates hold no certificate that can be read: give them as PEM"
            ) from error
    return context
