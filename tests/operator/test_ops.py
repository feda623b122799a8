"""Probes and metrics."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from dormouse_operator import ops
from dormouse_operator.metrics import Metrics
from dormouse_operator.queue import Key, WorkQueue
from tests.operator.builders import NOW

KEY = Key("ns", "tiny")
Object = dict[str, Any]


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


WELL = ops.Vitals(lag=0, oldest_running=0, oldest_waiting=0, watching=True, workers=6, started=True)


@contextlib.asynccontextmanager
async def served(
    vitals: Callable[[], ops.Vitals], metrics: Metrics
) -> AsyncIterator[Callable[[str], Awaitable[tuple[int, str]]]]:
    """Ask the probes and metrics over HTTP: a path's status and text."""
    runner = await ops.serve(ops.application(vitals, metrics.text), 0)
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(address + path) as answer:
                return answer.status, await answer.text()

        try:
            yield get
        finally:
            await runner.cleanup()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, None),
        ({"watching": False}, "watches"),
        ({"workers": 0}, "worker"),
        ({"lag": 11.0}, "blocked"),
        ({"oldest_running": 200.0}, "running"),
        ({"oldest_waiting": 700.0}, "waited"),
    ],
)
def test_problems(change: Object, word: str | None) -> None:
    found = ops.problems(ops.Vitals(**{**vars(WELL), **change}))
    assert (found == []) if word is None else (word in found[0])


def test_a_standby_needs_no_watch_and_no_worker() -> None:
    standby = ops.Vitals(**{**vars(WELL), "watching": False, "workers": 0, "standby": "b"})
    assert ops.problems(standby) == []
    assert ops.problems(ops.Vitals(**{**vars(standby), "lag": 11.0})) == ["the event loop was blocked for 11.0 s"]


async def test_a_standby_says_who_leads() -> None:
    vitals = {"now": ops.Vitals(**{**vars(WELL), "watching": False, "workers": 0, "standby": "", "started": False})}
    metrics = Metrics(WorkQueue())
    async with served(lambda: vitals["now"], metrics) as get:
        assert await get("/readyz") == (503, "the election Lease was not read yet")
        assert await get("/livez") == (200, "ok")
        vitals["now"] = ops.Vitals(**{**vars(vitals["now"]), "started": True, "standby": "b_1"})
        assert await get("/readyz") == (200, "ok: stands by, b_1 leads")
        assert "dormouse_operator_leader 0.0" in (await get("/metrics"))[1]
        metrics.leads()
        assert "dormouse_operator_leader 1.0" in (await get("/metrics"))[1]


def test_lag_is_forgotten_after_a_minute() -> None:
    clock = Clock()
    heart = ops.Heart(clock)
    heart.beat(0.01)
    heart.beat(12.0)
    assert heart.lag() == 12.0
    clock.now += 61
    assert heart.lag() == 0.0


async def test_probes_and_metrics_over_http() -> None:
    vitals = {"now": WELL}
    queue = WorkQueue()
    metrics = Metrics(queue)
    metrics.wrote("Deployment", "apply")
    metrics.model(KEY, "Serving")
    metrics.looked("ok", 0.01)
    queue.add(KEY)
    async with served(lambda: vitals["now"], metrics) as get:
        assert await get("/livez") == (200, "ok")
        assert await get("/readyz") == (200, "ok")
        vitals["now"] = ops.Vitals(**{**vars(WELL), "started": False})
        assert (await get("/livez"))[0] == 200
        assert (await get("/readyz"))[0] == 503
        vitals["now"] = ops.Vitals(**{**vars(WELL), "watching": False})
        assert (await get("/livez"))[0] == 503
        text = (await get("/metrics"))[1]
    assert 'dormouse_operator_api_writes_total{kind="Deployment",verb="apply"} 1.0' in text
    assert 'dormouse_operator_models{reason="Serving"} 1.0' in text
    assert "dormouse_operator_queue_depth 1.0" in text
    metrics.model(KEY, None)
    assert b'reason="Serving"' not in metrics.text()
