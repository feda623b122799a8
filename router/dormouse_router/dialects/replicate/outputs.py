"""Files that a prediction makes: in its owner's files, for as long as the prediction is kept. Told by their URLs."""

import asyncio
import contextlib
import mimetypes
from typing import Any

from dormouse_router.dialects.replicate.answers import has_file, opened
from dormouse_router.filing import Draft, Files
from dormouse_router.request import Refusal

MOST_FILES = 100
PURPOSE = "user_data"
BLOCK = 1024 * 1024
PNG = "image/png"


class Outputs:
    """Of one prediction."""

    def __init__(self, files: Files, owner: str, base: str, lives: float) -> None:
        """`base`: of the addresses. `lives`: seconds that a file is kept."""
        self._files, self._owner, self._base, self._lives = files, owner, base, lives
        self.made: list[str] = []

    async def put(self, content: bytes, media_type: str = PNG) -> str:
        """Write a file; its URL. Refusal where there is no room, or too many."""
        if len(self.made) >= MOST_FILES:
            raise Refusal(502, f"The output has more than {MOST_FILES} files.")
        name = f"out-{len(self.made)}{mimetypes.guess_extension(media_type) or '.bin'}"
        async with self._files.writing(self._owner, max(len(content), 1)) as writer:
            for start in range(0, len(content), BLOCK):
                await writer.write(content[start : start + BLOCK])
            record = await writer.commit(Draft(self._owner, name, PURPOSE, self._lives))
        self.made.append(record.id)
        return f"{self._base}/v1/files/{record.id}/content"

    async def kept(self, value: Any) -> Any:
        """The value with a URL of a file in the place of each data URL."""
        return await self._kept(value) if has_file(value) else value

    async def _kept(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("data:"):
            found = await asyncio.to_thread(opened, value)
            return value if found is None else await self.put(found[1], found[0])
        if isinstance(value, dict):
            return {name: await self._kept(each) for name, each in value.items()}
        return [await self._kept(each) for each in value] if isinstance(value, list) else value

    async def discard(self) -> None:
        """Nobody will be told of them."""
        for ident in self.made:
            with contextlib.suppress(Refusal):
                await self._files.delete(ident, self._owner)
