"""Probes and metrics."""

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
    runner = await ops.serve(ops.application(lambda: vitals["now"], metrics.text), 0)
    port = runner.addresses[0][1]
    async with ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        assert await get("/livez") == (200, "ok")
        assert await get("/readyz") == (200, "ok")
        vitals["now"] = ops.Vitals(**{**vars(WELL), "started": False})
        assert (await get("/livez"))[0] == 200
        assert (await get("/readyz"))[0] == 503
        vitals["now"] = ops.Vitals(**{**vars(WELL), "watching": False})
        assert (await get("/livez"))[0] == 503
        text = (await get("/metrics"))[1]
    await runner.cleanup()
    assert 'dormouse_operator_api_writes_total{kind="Deployment",verb="apply"} 1.0' in text
    assert 'dormouse_operator_models{reason="Serving"} 1.0' in text
    assert "dormouse_operator_queue_depth 1.0" in text
    metrics.model(KEY, None)
    assert b'reason="Serving"' not in metrics.text()
