"""Clients that misbehave: they leave at every point, stall while reading, and send what no client should.

Leaving earns no answer, so nothing is judged but what the router still says: rubbish is answered with a 4xx or a closed
connection, and a reader that stalls gets its answer whole or ended by an error once it reads on.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable

from bench.soaking.ledger import Ledger
from bench.soaking.script import Ask

WAIT_SECONDS = 30.0
STALL_SECONDS = (0.5, 4.0)
FLOOD_WORDS = 3000
"""3 MB, whatever they are read with."""
SMALL_BUFFER = 16384
HEAD = "POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\n"


def request(ask: Ask) -> bytes:
    return f"{HEAD}content-length: {len(ask.body)}\r\nconnection: close\r\n\r\n".encode() + ask.body


def _post(body: bytes, headers: str = "") -> bytes:
    return f"{HEAD}content-length: {len(body)}\r\n{headers}\r\n".encode() + body


RUBBISH = {
    "zero bytes": b"\0\0\0\r\n\r\n",
    "words": b"I am not HTTP\r\n\r\n",
    "no JSON": _post(b"{" * 100),
    "JSON, no object": _post(b"[1, 2]"),
    "no model": _post(b'{"messages": []}'),
    "unknown model": _post(json.dumps({"model": "nobody", "messages": []}).encode()),
    "not UTF-8": _post(b'{"model": "\xff\xfe", "messages": []}'),
    "deep": _post(b"[" * 50_000),
    "two lengths": _post(b"{}", "content-length: 40\r\n"),
    "length and chunks": _post(b"{}", "transfer-encoding: chunked\r\n"),
    "huge header": _post(b"{}", f"x: {'y' * 200_000}\r\n"),
    "bare line feeds": b"POST /v1/chat/completions HTTP/1.1\nhost: soak\ncontent-length: 2\n\n{}",
    "no such path": b"GET /nowhere HTTP/1.1\r\nhost: soak\r\n\r\n",
    "wrong method": b"DELETE /v1/chat/completions HTTP/1.1\r\nhost: soak\r\n\r\n",
}


class Rude:
    """One rude client at a time on its own connection, again and again."""

    def __init__(self, port: int, pick: Callable[[], str], ledger: Ledger, dice: random.Random, silence: float) -> None:
        """`silence`: how long an answer may stand still before the router ends it, in seconds."""
        self._port, self._pick, self._ledger, self._dice, self._silence = port, pick, ledger, dice, silence
        self._ways = (self._leave_early, self._leave_midway, self._stall, self._rubbish)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            way = self._dice.choices(self._ways, (4, 4, 1, 4))[0]
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await way()
            except TimeoutError:
                self._ledger.wrong("hung", way.__name__)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._ledger.seen("rude: cut off")
            await asyncio.sleep(self._dice.random() / 10)

    async def _leave_early(self) -> None:
        """Gone before the request is whole, or right after it: while it is held, or at the engine."""
        _, writer = await self._open()
        data = request(Ask(self._pick(), stream=self._dice.random() < 0.5))
        whole = self._dice.random() < 0.5
        writer.write(data if whole else data[: self._dice.randrange(len(data))])
        await asyncio.sleep(self._dice.random() / 4)
        writer.transport.abort()
        self._ledger.seen("rude: left while waiting" if whole else "rude: left while sending")

    async def _leave_midway(self) -> None:
        """Gone in the middle of the answer."""
        reader, writer = await self._open()
        writer.write(request(Ask(self._pick(), words=60)))
        await reader.readexactly(self._dice.randint(1, 3000))
        writer.transport.abort()
        self._ledger.seen("rude: left while reading")

    async def _stall(self) -> None:
        """Reads nothing for a while of an answer larger than every buffer; then leaves, or reads to its end."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=SMALL_BUFFER)
        ask = Ask(self._pick(), words=FLOOD_WORDS, wide=True)
        since, stall = time.monotonic(), self._dice.uniform(*STALL_SECONDS)
        writer.write(request(ask))
        await asyncio.sleep(stall)
        if self._dice.random() < 0.5:
            writer.transport.abort()
            self._ledger.seen("rude: left while stalling")
            return
        end, words = b"", 0
        while data := await reader.read(65536):
            words += (end[-1:] + data).count(b"x ")  # the end of every word, wherever the pieces are cut
            end = (end + data)[-2000:]
        writer.close()
        if words == FLOOD_WORDS and b"[DONE]" in end:
            self._ledger.seen("stalled reader: whole")
        elif b'"error"' in end:
            if stall > self._silence / 2:
                self._ledger.fault(ask.number, "nothing moved for longer than the router waits")
            self._ledger.failed("stalled reader: error", ask.model, ask.number, since, end.decode(errors="replace"))
        else:
            self._ledger.wrong("stalled reader: torn", f"{words} words, {end[-200:]!r}")
        self._ledger.forget(ask.number)

    async def _rubbish(self) -> None:
        kind = self._dice.choice(list(RUBBISH))
        reader, writer = await self._open()
        writer.write(RUBBISH[kind])
        said = await reader.read(300)
        writer.transport.abort()
        status = said.split(b" ", 2)[1:2]
        if not said:
            self._ledger.seen("rubbish: cut off")
        elif status and status[0].startswith(b"4"):
            self._ledger.seen("rubbish: refused")
        else:
            self._ledger.wrong("rubbish was taken", f"{kind}: {said!r}")

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)
