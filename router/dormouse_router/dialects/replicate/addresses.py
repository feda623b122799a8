"""Where clients reach the router: as configured, else as the request was addressed. Pure."""

import re
from collections.abc import Callable

_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")


def base_of(header: Callable[[bytes], bytes | None], public: str) -> str:
    """Scheme and host, without a slash behind. What a client says of itself counts for its own answers alone."""
    if public:
        return public
    host = header(b"x-forwarded-host") or header(b"host") or b""
    scheme = (header(b"x-forwarded-proto") or b"").lower()
    if not _HOST.fullmatch(host):
        host = b"localhost"
    return f"{'https' if scheme == b'https' else 'http'}://{host.decode()}"
