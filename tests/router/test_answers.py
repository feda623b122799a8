"""What a handler writes is what its client reads, piece by piece, whatever the pieces are."""

import time

import httpx
from fastapi import APIRouter

from dormouse_router.app import App
from dormouse_router.behalf import Trust
from dormouse_router.hot import Hot
from dormouse_router.listener import Listener
from dormouse_router.request import Dialect, Refusal, Reply, Request
from dormouse_router.settings import Settings
from dormouse_router.store.memory import in_memory


def refuse(refusal: Refusal) -> Reply:
    return Reply(refusal.status, refusal.message.encode(), ())


async def test_an_empty_piece_is_not_the_end_of_the_answer() -> None:
    async def handler(request: Request) -> None:
        await request.start(200, [(b"content-type", b"text/plain")])
        for piece in (b"", b"one", b"", b"two"):
            await request.write(piece)
        await request.end()

    dialects = [Dialect("", refuse, {"/pieces": handler}, APIRouter())]
    hot = Hot(dialects, App(dialects), Settings(), Trust(in_memory().batches.attended, time.monotonic))
    listener = Listener(hot.take, ("127.0.0.1", 0), body_timeout=5, write_timeout=5)
    await listener.start()
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        for _ in range(2):  # what was left of an answer would be the beginning of the next
            answer = await client.post(f"http://127.0.0.1:{listener.port}/pieces", content=b"{}")
            assert (answer.status_code, answer.text) == (200, "onetwo")
    await listener.stop(1)
