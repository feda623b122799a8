"""GET /v1/usage: totals by day, owner, caller and model. Everybody sees their own, an operator everybody's, and what
models have held, used and left to others."""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from dormouse_router.accounting.costs import Prices, of_devices, of_tokens
from dormouse_router.accounting.entries import Key, Total, Usage, Wanted, day_of
from dormouse_router.caller import Role, current
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.gateway import Gateway
from dormouse_router.request import Dialect, Refusal

DAY_SECONDS = 86400.0
DAYS = 31
"""Shown where nothing else is asked for."""
FEWEST, MOST = 1, 10_000
"""Rows of an answer."""
DAY = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
"""How a day is written; the 31st of any month is one."""
_DAY = re.compile(DAY)


def dialect(usage: Usage, gateway: Gateway, prices: Prices) -> Dialect:
    """The route, which has its errors from OpenAI's dialect."""
    router = APIRouter()
    usages = Usages(usage, time.time, prices, lambda: gateway.models(gateway.caller("")), _naming(gateway))
    router.add_api_route("/v1/usage", usages.usage, methods=["GET"], response_model=None)
    return Dialect("/v1/usage", refuse, {}, router)


def _naming(gateway: Gateway) -> Callable[[str], str]:
    """Whole names of models, by whatever the caller calls them. One that is gone is told by its whole name alone."""

    def named(name: str) -> str:
        found = gateway.look_up(name, gateway.caller(""))
        return found.full_name if isinstance(found, Record) else name

    return named


class Usages:
    """The handler."""

    def __init__(
        self,
        usage: Usage,
        wall: Callable[[], float],
        prices: Prices,
        models: Callable[[], Iterable[Record]],
        named: Callable[[str], str],
    ) -> None:
        """`wall`: seconds since the epoch. `models`: those that the caller sees. `named`: a model's whole name."""
        self._usage, self._wall, self._prices, self._models, self._named = usage, wall, prices, models, named

    async def usage(
        self,
        since: str | None = None,
        until: str | None = None,
        model: str | None = None,
        owner: str | None = None,
        limit: str | None = None,
    ) -> Response:
        """Totals of the days between the two, in whichever order they come, the latest first."""
        model = self._named(model) if model is not None else None
        wanted = self._wanted(since, until, limit)
        wanted = replace(wanted, model=model, owner=_owner(owner))
        found = await self._usage.read(replace(wanted, limit=wanted.limit + 1))
        shown = found[: wanted.limit]
        body = {
            "object": "list",
            "since": wanted.since,
            "until": wanted.until,
            "data": [_row(key, total, self._prices) for key, total in shown],
            "devices": self._devices(model),
            "has_more": len(found) > len(shown),
        }
        return Response(msgspec.json.encode(body), media_type="application/json")

    def _devices(self, model: str | None) -> list[dict[str, object]]:
        """Of all models, or of one; for operators, and in mode `open` for everybody."""
        caller = current()
        if caller is not None and caller.role < Role.OPERATOR:
            return []
        known = ((record.full_name, record.status.usage) for record in self._models())
        now = self._wall()
        return [
            of_devices(self._prices, name, usage, now)
            for name, usage in known
            if usage is not None and model in (None, name)
        ]

    def _wanted(self, since: str | None, until: str | None, limit: str | None) -> Wanted:
        now = self._wall()
        first = _day("since", since) or day_of(now - (DAYS - 1) * DAY_SECONDS)
        last = _day("until", until) or day_of(now)
        return Wanted(min(first, last), max(first, last), limit=_limit(limit))


def _owner(asked: str | None) -> str | None:
    """Whose usage is shown; None is everybody's. In mode `open` nobody has a name, and everything is everybody's."""
    caller = current()
    if caller is None or caller.role >= Role.OPERATOR:
        return asked
    if asked not in (None, caller.owner):
        text = "'owner' may be left out, or be yourself: what others used is shown to operators."
        raise Refusal(403, text, code="insufficient_role", param="owner")
    return caller.owner


def _day(name: str, text: str | None) -> str | None:
    if text is not None and not _DAY.fullmatch(text):
        raise Refusal(400, f"'{name}' is no day: write it as 2026-01-31.", code="invalid_value", param=name)
    return text


def _limit(text: str | None) -> int:
    if text is None:
        return 1000
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not FEWEST <= int(text) <= MOST:
        raise Refusal(400, f"'limit' is a number from {FEWEST} to {MOST}.", code="invalid_value", param="limit")
    return int(text)


def _row(key: Key, total: Total, prices: Prices) -> dict[str, object]:
    return {
        "object": "usage",
        "day": key.day,
        "model": key.model,
        "owner": key.owner,
        "caller": key.caller,
        "requests": total.requests,
        "failed": total.failed,
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "cached_tokens": total.cached_tokens,
        "seconds": round(total.seconds, 3),
        "held_seconds": round(total.held_seconds, 3),
        "cost": of_tokens(prices, key.model, total.prompt_tokens, total.completion_tokens),
    }
