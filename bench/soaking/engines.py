"""Engine stand-ins that mostly work, and else stall, die before, in and after their answers, refuse, and go away.

Every fault goes into the ledger under the number of the request that met it, before the client can notice.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping

from bench.soaking.ledger import Ledger
from bench.soaking.script import heard

MOODS = {"work": 92, "refuse": 2, "die": 2, "cut": 2, "stall": 1, "slam": 1}
"""Per cent. die: before the answer; cut: in the middle; slam: the connection after a whole answer."""
PACE = (0.0, 0.015)
"""Seconds between two words."""
FLOOD = 200
"""More words than this come as fast as they are read."""


class Engine:
    """One engine on one port, which it keeps when it goes away and comes back."""

    def __init__(self, ledger: Ledger, dice: random.Random, silence: float) -> None:
        """`silence`: what the router takes for death, in seconds."""
        self._ledger, self._dice, self._stall = ledger, dice, silence * 2 + 2
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], int] = {}
        """Every connection, and the number of the request on it (0: none)."""
        self.port = 0

    @property
    def connections(self) -> int:
        return len(self._serving)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a killed pod: nothing listens, and every connection is reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, number in list(self._serving.items()):
            if number:
                self._ledger.fault(number, "killed")
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = 0
        try:
            while await self._one(task, reader, writer):
                self._serving[task] = 0
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            del self._serving[task]
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(
        self, task: "asyncio.Task[None]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer; whether the connection may serve another."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        asked = heard(await reader.readexactly(length))
        number, stream = asked.number, asked.stream
        self._serving[task] = number
        mood = self._dice.choices(list(MOODS), list(MOODS.values()))[0]
        if mood not in ("work", "slam"):
            self._ledger.fault(number, mood)
        if mood == "die" or (mood == "cut" and not stream):
            self._ledger.lost(asked.model, self.port)
            writer.transport.abort()
            return False
        if mood == "refuse":
            await _send(writer, _whole(500, {"error": {"message": "out of memory", "type": "server_error"}}))
            return True
        if stream:
            await self._stream(writer, asked.words, mood)
        else:
            await asyncio.sleep(self._stall if mood == "stall" else self._dice.random() / 20)
            await _send(writer, _whole(200, _answer("".join(asked.words), len(asked.words))))
        return mood != "slam" and not writer.is_closing()

    async def _stream(self, writer: asyncio.StreamWriter, words: list[str], mood: str) -> None:
        await _send(writer, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        break_at = self._dice.randrange(len(words)) if mood in ("cut", "stall") else -1
        for position, word in enumerate(words):
            if position == break_at and mood == "cut":
                writer.transport.abort()
                raise ConnectionResetError
            if position == break_at:
                await asyncio.sleep(self._stall)
            await _send(writer, _event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}))
            if len(words) <= FLOOD:
                await asyncio.sleep(self._dice.uniform(*PACE))
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": _usage(len(words))}
        await _send(writer, _event(end) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": words, "total_tokens": words + 3}


def _answer(text: str, words: int) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    fields = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "soak", "choices": [choice]}
    return fields | {"usage": _usage(words)}


def _whole(status: int, fields: Mapping[str, object]) -> bytes:
    body = json.dumps(fields).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _event(fields: Mapping[str, object]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "soak"}
    data = b"data: " + json.dumps({**head, **fields}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)
