"""Passwords: hashed by Argon2 with the library's own settings, in threads, few at a time."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LEAST, MOST = 12, 1024
"""Characters."""
AT_ONCE = 2
"""Each takes 64 MiB and a good part of a core."""
_hasher = PasswordHasher()


class Passwords:
    """One per router."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._nobodys: str | None = None

    async def hashed(self, password: str) -> str:
        async with self._room:
            return await asyncio.to_thread(_hasher.hash, password)

    async def fits(self, known: str | None, password: str) -> bool:
        """Whether it is the password of that hash. Without one it takes as long, and says no: who is here is nobody's
        business."""
        if self._nobodys is None:
            self._nobodys = await self.hashed("a password that nobody has")
        async with self._room:
            fits = await asyncio.to_thread(_fits, known or self._nobodys, password)
        return fits and known is not None


def _fits(known: str, password: str) -> bool:
    try:
        return _hasher.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False
