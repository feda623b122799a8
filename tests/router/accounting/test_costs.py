"""What tokens and devices cost."""

import json
from typing import Any

import httpx
import pytest

from dormouse_api.lease import micro_time
from dormouse_api.status import Usage
from dormouse_router.accounting.costs import Prices, Tokens, of_devices, of_tokens, parsed
from dormouse_router.settings import Settings
from tests.router.conftest import MakeEngine
from tests.router.fakes import Stage, model, speak, stage

NOON = 1_795_348_800.0
TOLD = {"devices": {"nvidia.com/gpu": 2.5}, "models": {"team/qwen": {"prompt": 0.1, "completion": 0.4}}}
PRICES = Prices({"nvidia.com/gpu": 2.5}, {"team/qwen": Tokens(0.1, 0.4)})
USED: dict[str, Any] = {
    "at": micro_time(NOON - 3600),
    "resource": "nvidia.com/gpu",
    "held": 2,
    "spared": 1,
    "awakeSeconds": 7200,
    "busySeconds": 600,
    "savedSeconds": 3600,
    "waitedSeconds": 9,
}


def test_prices_are_those_of_the_chart() -> None:
    assert parsed(json.dumps(TOLD), "X") == PRICES
    assert parsed("", "X") == Prices()
    assert Settings.from_env({"DORMOUSE_PRICES": json.dumps(TOLD)}).prices == PRICES


@pytest.mark.parametrize(
    "text", ["{", '{"devices": {"gpu": -1}}', '{"models": {"a/b": {"cached": 1}}}', '{"gpus": {}}']
)
def test_what_is_no_price_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match=r"DORMOUSE_PRICES holds no prices.*set it to"):
        Settings.from_env({"DORMOUSE_PRICES": text})


def test_tokens_cost_by_the_million() -> None:
    assert of_tokens(PRICES, "team/qwen", 2_000_000, 500_000) == 0.4
    assert of_tokens(PRICES, "team/other", 1, 1) is None


def test_devices_cost_by_the_hour_up_to_now() -> None:
    told = of_devices(PRICES, "team/qwen", Usage.model_validate(USED), NOON)
    assert told == {
        "object": "usage.devices",
        "model": "team/qwen",
        "resource": "nvidia.com/gpu",
        "awake_seconds": 14400,
        "busy_seconds": 600,
        "saved_seconds": 7200,
        "waited_seconds": 9,
        "cost": 10.0,
        "saved": 5.0,
    }
    free = of_devices(Prices(), "team/qwen", Usage.model_validate(USED), NOON)
    assert (free["cost"], free["saved"]) == (None, None)


async def test_the_route_tells_both(make_engine: MakeEngine) -> None:
    prices = Prices({"nvidia.com/gpu": 2.5}, {"default/tiny": Tokens(1_000_000, 0)})
    async with stage(prices=prices) as world, httpx.AsyncClient(base_url=world.url, timeout=60) as client:
        world.cluster.add_model(model(status={"usage": USED}))
        await world.awake(await make_engine(speak))
        body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        row = await _row(world, client)
        assert row["cost"] == row["prompt_tokens"] == 7
        told = (await client.get("/v1/usage")).json()["devices"]
        assert [(each["model"], each["busy_seconds"]) for each in told] == [("default/tiny", 600)]
        assert told[0]["cost"] == pytest.approx(told[0]["awake_seconds"] / 3600 * 2.5)
        assert (await client.get("/v1/usage?model=default/other")).json()["devices"] == []


async def _row(world: Stage, client: httpx.AsyncClient) -> dict[str, Any]:
    await world.router._books.flush()
    (row,) = (await client.get("/v1/usage")).json()["data"]
    return dict(row)
