"""What engines hold of their accelerators: read from real expositions, told as JSON and for Prometheus."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dormouse_api import metrics as names
from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.cluster import Resource
from dormouse_router.dialects.native import gpu
from dormouse_router.insight import Accelerator, Reading
from dormouse_router.scrape import FRESH_SECONDS, Scraper, reading, samples
from tests.router.dialects.native.pods import GPU, HOST, VLLM, exposition, serving, two_devices
from tests.router.dialects.records import model
from tests.router.fakes import slice_of, stage, until


def read(admin: str, engine: str) -> Reading:
    return reading(serving(), "10.0.0.1", samples(admin), samples(engine))


def test_a_pod_with_two_devices() -> None:
    assert read(HOST + GPU, VLLM) == two_devices()


@pytest.mark.parametrize(
    ("admin", "engine", "wanted"),
    [
        ("", "", Reading(serving(), "10.0.0.1")),
        (HOST, "", Reading(serving(), "10.0.0.1", resident=123456)),
        (HOST, "# TYPE other gauge\nother 1\n", Reading(serving(), "10.0.0.1", resident=123456)),
        ("", "vllm:gpu_cache_usage_perc 0.5\n", Reading(serving(), "10.0.0.1", cache_used=0.5)),
        # the driver tells neither memory nor use of a device that is split into instances
        (
            f'{names.GPU_MEMORY_TOTAL}{{gpu="0"}} 0\n{names.GPU_MEMORY_USED}{{gpu="0"}} 0\n',
            "",
            Reading(serving(), "10.0.0.1", (Accelerator("0"),)),
        ),
    ],
)
def test_what_is_not_told_is_not_known(admin: str, engine: str, wanted: Reading) -> None:
    assert read(admin, engine) == wanted


def test_requests_of_several_engine_processes_are_added() -> None:
    text = 'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_running{engine="1"} 4\n'
    assert read("", text).running == 7


@pytest.mark.parametrize("text", ["vllm:num_requests_running{", "vllm:num_requests_running x\n"])
def test_what_is_no_exposition(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        samples(text)


def test_a_lost_device_is_shown_by_its_warnings_alone() -> None:
    text = (
        'dormouse_runtime_gpu_warning{gpu="0",kind="Lost"} 1\ndormouse_runtime_gpu_warning{gpu="0",kind="Errors"} 1\n'
    )
    found = reading(serving(), "10.0.0.1", samples(text), {})
    assert found.accelerators == (Accelerator("0", warnings=2),)
    assert gpu.reading(found)["accelerators"][0]["warnings"] == 2


def test_as_json() -> None:
    told = gpu.reading(two_devices())
    assert told["accelerators"][1] == {
        "index": "1",
        "memory_used_bytes": 2000,
        "memory_total_bytes": 4000,
        "utilization": 0.25,
        "temperature_celsius": 61.0,
        "warnings": 0,
    }
    assert (told["model"], told["backend"], told["device"], told["error"]) == ("tiny-chat", "vllm", "cuda", None)
    assert (told["resident_bytes"], told["kv_cache_used"]) == (123456, 0.125)
    assert (told["requests_running"], told["requests_waiting"]) == (3, 1)


def test_totals() -> None:
    assert gpu.total([]) is None
    assert gpu.total([Reading(serving(), "10.0.0.1", (Accelerator("0"),))]) is None
    assert gpu.total([two_devices(), two_devices("other")]) == {"used_bytes": 6000, "total_bytes": 16000}


def test_for_prometheus() -> None:
    body, kind = gpu.exposition([two_devices(), Reading(serving("other"), "10.0.0.2", error="away")])
    assert kind.startswith("text/plain")
    found = {f.name: f.samples for f in text_string_to_metric_families(body.decode())}
    used = {s.labels["gpu"]: s.value for s in found[names.GPU_MEMORY_USED]}
    assert used == {"0": 1000.0, "1": 2000.0}
    assert [s.labels for s in found[names.ENGINE_CACHE_USED]] == [{"model": "default/tiny-chat", "host": "10.0.0.1"}]
    assert found[names.ENGINE_CACHE_USED][0].value == 0.125


async def test_answers_are_remembered_briefly_and_engines_that_are_away_say_so() -> None:
    now = 100.0
    async with exposition(HOST + GPU) as admin, exposition(VLLM) as port:
        scraper = Scraper(lambda: now, admin)
        ready = [(serving(), Endpoint("127.0.0.1", port))]
        [first] = await scraper.read(ready)
        assert (first.resident, first.running, first.error) == (123456, 3, "")
    assert await scraper.read(ready) == [first]
    now += FRESH_SECONDS + 0.1
    [gone] = await scraper.read(ready)
    assert gone.error.startswith("no metrics: ")
    assert (gone.accelerators, gone.resident) == ((), None)
    [other] = await scraper.read([(serving(), Endpoint("127.0.0.1", 1))])
    assert other.error
    await scraper.close()


async def test_an_engine_without_metrics_is_no_error() -> None:
    async with exposition(HOST) as admin, exposition("no", 404) as port:
        scraper = Scraper(lambda: 0.0, admin)
        [found] = await scraper.read([(serving(), Endpoint("127.0.0.1", port))])
        await scraper.close()
    assert (found.error, found.resident, found.running) == ("", 123456, None)


async def test_over_the_routers_own_port() -> None:
    async with (
        exposition(VLLM) as port,
        exposition(HOST + GPU) as admin,
        stage(admin_port=admin) as world,
        httpx.AsyncClient(base_url=world.url) as client,
    ):
        assert (await client.get("/metrics/gpu")).json() == {"engines": []}
        world.cluster.add_model(model("tiny"))
        world.cluster.put(Resource.SLICES, slice_of("tiny", port))
        await until(lambda: world.endpoints() == 1)
        [told] = (await client.get("/metrics/gpu")).json()["engines"]
        assert (told["model"], told["requests_running"], len(told["accelerators"])) == ("tiny", 3, 2)
        for query, accept in (("?format=prometheus", "*/*"), ("", "application/openmetrics-text, text/plain;q=0.5")):
            text = await client.get(f"/metrics/gpu{query}", headers={"accept": accept})
            assert text.headers["content-type"].startswith("text/plain")
            assert f'{names.GPU_MEMORY_TOTAL}{{gpu="1",host="127.0.0.1",model="default/tiny"}} 4000.0' in text.text
        wrong = await client.get("/metrics/gpu?format=xml")
        assert (wrong.status_code, wrong.json()["param"]) == (400, "format")
        health = (await client.get("/health")).json()
        assert health["accelerator_memory"] == {"used_bytes": 3000, "total_bytes": 8000}
        assert world.cluster.writes == []
