"""What a client shows, and what is kept of it. Pure.

Keys are 256 random bits, so a fast hash keeps them as well as a slow one: what makes a password worth a slow hash is
that it can be guessed, and nobody guesses 256 bits at any speed; a slow hash on every request would only be a way to
keep a router busy. Whoever looks a key up does so by its hash: how long that takes tells of the hash, of which nobody
can make a next better one, and not of the key, so it is safe against who measures it. What the store keeps is keyed
(`sealed`), so that a copy of the database alone cannot even tell whether some text is a key of it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable

PREFIX = "dm-"
SHOWN = 8
"""Characters of a key, after its prefix, that lists show."""
LEAST = 24
"""Characters of a key: of fewer, a fast hash would not be enough."""
MOST = 16 * 1024
"""Bytes of a credential that are looked at: tokens of providers reach a few thousand."""
TOKEN_PATH = b"/key/"
"""Begins the path of a client that can send no header: /key/KEY/api/chat."""
_BEARER = b"bearer "


def new_key() -> str:
    """A key that nobody has had."""
    return PREFIX + secrets.token_urlsafe(32)


def shown(key: str) -> str:
    """What of a key may be shown, to tell it from others: a part too small to help anybody guess the rest."""
    return key[: len(PREFIX) + SHOWN] if key.startswith(PREFIX) else ""


def digest(credential: bytes) -> bytes:
    """By what a credential is looked up."""
    return hashlib.sha256(credential).digest()


def sealed(looked_up: bytes, pepper: bytes) -> str:
    """What the store keeps of a key, of its `digest`."""
    return hmac.new(pepper, b"dormouse-key:" + looked_up, hashlib.sha256).hexdigest()


def credential_of(header: Callable[[bytes], bytes | None]) -> bytes:
    """What a request's headers show, b"" without. Bearer first, as OpenAI's clients send it; then Anthropic's way."""
    authorization = header(b"authorization")
    if authorization is not None and authorization[:7].lower() == _BEARER:
        found = authorization[7:].strip()
        if found:
            return found
    return (header(b"x-api-key") or b"").strip()


def looked_up(header: Callable[[bytes], bytes | None]) -> bytes:
    """The digest of what a request's headers show, also of nothing."""
    return hashlib.sha256(credential_of(header)).digest()


def without_key(url: bytes) -> tuple[bytes, bytes] | None:
    """(key, target) of a target that begins with /key/KEY; None of any other."""
    if not url.startswith(TOKEN_PATH):
        return None
    key, slash, rest = url[len(TOKEN_PATH) :].partition(b"/")
    if not slash:
        key, mark, query = key.partition(b"?")
        rest = mark + query
    return (key, b"/" + rest) if key else None
