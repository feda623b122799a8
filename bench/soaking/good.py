"""Clients that behave, and know their answers: each is whole, or ends with an error the client can see, or is wrong."""

import asyncio
import json
import random
import time
from collections.abc import Callable

import httpx

from bench.soaking.ledger import Ledger
from bench.soaking.script import Ask, some_ask

ANSWER_SECONDS = 40.0
"""An answer that has not ended by then hangs."""
THINK_SECONDS = 0.15


async def client(url: str, pick: Callable[[], str], ledger: Ledger, dice: random.Random, stop: asyncio.Event) -> None:
    """Asks one model after the other, as `pick` says, until `stop`."""
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
        while not stop.is_set():
            ask = some_ask(pick(), dice)
            await judge(http, ask, ledger)
            ledger.forget(ask.number)
            await asyncio.sleep(dice.random() * THINK_SECONDS)


async def judge(http: httpx.AsyncClient, ask: Ask, ledger: Ledger) -> None:
    """Send one request, and enter how it ended."""
    since = time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await http.post(ask.path, content=ask.body, headers={"content-type": "application/json"})
    except TimeoutError:
        ledger.wrong("hung", f"{ask}")
    except httpx.HTTPError as error:
        ledger.wrong("torn", f"{ask}: {error!r}")
    else:
        _enter(ask, answer, since, ledger)


def _enter(ask: Ask, answer: httpx.Response, since: float, ledger: Ledger) -> None:
    kind = f"{'ollama' if ask.ollama else 'openai'} {'stream' if ask.stream else 'whole'}"
    try:
        text, error_text = (read_stream if ask.stream and answer.is_success else read_whole)(ask, answer)
    except (ValueError, LookupError, TypeError) as error:
        ledger.wrong("not readable", f"{ask}: {error!r} {answer.text[-200:]!r}")
        return
    if error_text is not None:
        status = "error in the stream" if answer.is_success else f"status {answer.status_code}"
        ledger.failed(f"{kind}: {status}", ask.model, ask.number, since, error_text)
    elif text == ask.text:
        ledger.seen(f"{kind}: whole")
    else:
        ledger.wrong("not what was asked", f"{ask}: {text[-200:]!r}")


def read_whole(ask: Ask, answer: httpx.Response) -> tuple[str, str | None]:
    """The text of an answer, and the sentence of its error, if it is one."""
    said = answer.json()
    if not answer.is_success:
        error = said["error"]
        return "", error if isinstance(error, str) else str(error["message"])
    message = said["message"] if ask.ollama else said["choices"][0]["message"]
    return str(message["content"]), None


def read_stream(ask: Ask, answer: httpx.Response) -> tuple[str, str | None]:
    """The same of a stream. One that just stops has a text that says so."""
    if ask.ollama:
        events = [json.loads(line) for line in answer.text.splitlines() if line]
        ended = bool(events) and events[-1].get("done") is True
    else:
        lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
        ended = bool(lines) and lines[-1] == "[DONE]"
        events = [json.loads(line) for line in lines if line != "[DONE]"]
    for event in events:
        if "error" in event:
            return "", json.dumps(event["error"])
    text = "".join(_piece(ask, event) for event in events)
    return (text if ended else f"{text} ... and then nothing"), None


def _piece(ask: Ask, event: dict[str, object]) -> str:
    if ask.ollama:
        message = event.get("message")
        return str(message.get("content", "")) if isinstance(message, dict) else ""
    choices = event.get("choices")
    return str(choices[0]["delta"].get("content") or "") if isinstance(choices, list) and choices else ""
