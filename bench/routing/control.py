"""How a bench steers the cluster of its router process, and reads that router's inner counts: the end that asks.

Imports nothing of the router, so that load and measurement start without it.
"""

import asyncio
import json
from typing import Any

Said = dict[str, Any]


class Control:
    """One connection to the desk of a `bench.routing.proxy`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int) -> "Control":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, do: str, **fields: object) -> Said:
        """Run one command. ConnectionError where the router's process is gone."""
        async with self._turn:
            self._writer.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            line = await self._reader.readline()
        if not line:
            raise ConnectionError("the router's process closed its control port")
        answer: Said = json.loads(line)
        return answer

    def close(self) -> None:
        self._writer.close()
