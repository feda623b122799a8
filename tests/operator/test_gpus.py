"""What the GPUs of pods say: asked, kept, told once per crossing in status and Events, and in metrics."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from dormouse_api.gpu import GpuReading, GpuReport, GpuWarning, GpuWarningKind, Warned
from dormouse_api.status import InferenceModelStatus
from dormouse_operator import status
from dormouse_operator.decide import gpus as decide
from dormouse_operator.gpus import LARGEST_ANSWER, GpuMeter, Gpus
from dormouse_operator.happenings import happenings
from dormouse_operator.observed import Observed, Runtime
from dormouse_operator.plan.model import plan
from dormouse_operator.queue import Key
from tests.operator.builders import COMMIT, NOW, SETTINGS, claim, facts, gpu, model, observed, pod, remembered, wish
from tests.operator.test_pollers import server

KEY = Key("ns", "tiny")
HOT = Warned(kind=GpuWarningKind.TEMPERATURE, message="GPU 0 has 88 degrees: see to the node's cooling")
HOTTER = HOT.model_copy(update={"message": "GPU 0 has 89 degrees: see to the node's cooling"})
FULL = Warned(kind=GpuWarningKind.MEMORY, message="GPU 0 is full")


def report(*warnings: Warned, number: str = "0") -> GpuReport:
    reading = GpuReading(gpu=number, memory_used=70, memory_total=80, utilization=0.5, warnings=warnings)
    return GpuReport(gpus=(reading,))


def serving(told: dict[str, GpuReport] | None, known: InferenceModelStatus | None = None) -> Observed:
    profile = gpu()
    m = remembered(model(), facts(), COMMIT)
    m = replace(m, status=known) if known is not None else m
    runtime = Runtime(1, NOW - 5, {}, {})
    pods = (pod(ready_at=NOW),)
    return observed(m, profile=profile, claim=claim(), wish=wish(60), runtime=runtime, pods=pods, gpus=told)


def build(o: Observed, now: float = NOW) -> InferenceModelStatus:
    return status.build(o, plan(o, SETTINGS, now), None, now)


def warned(seen: InferenceModelStatus) -> list[tuple[str, str, str]]:
    return [(each.kind, each.since, each.message) for each in seen.gpu_warnings or ()]


def test_a_crossing_is_one_event_and_one_write_however_the_numbers_move() -> None:
    calm = build(serving({"tiny-runtime": report()}))
    assert calm.gpu_warnings is None
    hot = build(serving({"tiny-runtime": report(HOT)}, calm))
    (told,) = [each for each in happenings("tiny", calm, hot) if each.reason.startswith("Gpu")]
    assert (told.reason, told.warning) == ("GpuTemperature", True)
    assert told.note == f"tiny-runtime: {HOT.message}"
    later = build(serving({"tiny-runtime": report(HOTTER)}, hot), NOW + 60)
    assert warned(later) == warned(hot)
    assert happenings("tiny", hot, later) == []
    both = build(serving({"tiny-runtime": report(HOTTER, FULL)}, later), NOW + 90)
    assert [each.reason for each in happenings("tiny", later, both)] == ["GpuMemory"]
    assert warned(both)[0] == warned(hot)[0]
    cool = build(serving({"tiny-runtime": report()}, both), NOW + 120)
    assert cool.gpu_warnings is None
    assert happenings("tiny", both, cool) == []


def test_after_a_restart_of_the_operator_nothing_is_told_twice() -> None:
    hot = build(serving({"tiny-runtime": report(HOT)}))
    unheard = build(serving(None, hot), NOW + 5)
    assert warned(unheard) == warned(hot)
    heard = build(serving({"tiny-runtime": report(HOTTER)}, unheard), NOW + 9)
    assert happenings("tiny", unheard, heard) == []


def test_warnings_go_with_the_pods() -> None:
    hot = build(serving({"tiny-runtime": report(HOT)}))
    asleep = replace(serving({}, hot), pods=(), wish=None, runtime=Runtime(0, None, {}, {}))
    assert build(asleep, NOW + 600).gpu_warnings is None


def test_only_ready_pods_of_profiles_with_gpus_are_asked() -> None:
    pods = (pod(ready_at=NOW), pod(name="new"), pod(name="going", ready_at=NOW, deleting=True))
    assert decide.asked(pods, gpu()) == {"tiny-runtime": "10.0.0.1"}
    assert decide.asked(pods, observed().profile) == {}
    assert decide.asked(pods, None) == {}


def test_the_status_holds_no_more_than_it_may() -> None:
    told = {f"pod-{number:02}": report(HOT, FULL) for number in range(20)}
    assert len(decide.standing(None, told, NOW) or ()) == 16
    assert decide.news(None, None) == []


async def test_pods_are_asked_and_a_change_of_what_stands_asks_for_a_look() -> None:
    said = [report(), report(HOT), report(HOTTER), report()]
    asked: list[GpuReport] = []
    changes: asyncio.Queue[Key] = asyncio.Queue()

    def answer() -> web.Response:
        asked.append(said[min(len(asked), 3)])
        return web.json_response(text=asked[-1].model_dump_json())

    async with server({"/gpus": answer}) as port:
        gpus = Gpus(changes.put_nowait, 0.01, port)
        assert gpus.of(KEY) == {}
        gpus.watch(KEY, {"a": "127.0.0.1"})
        assert gpus.of(KEY) is None
        task = asyncio.create_task(gpus.run())
        async with asyncio.timeout(60):
            for _ in range(3):  # heard at all, hot, cool: not that the number moved
                assert await changes.get() == KEY
        assert len(asked) >= 4
        registry = CollectorRegistry()
        registry.register(GpuMeter(gpus))
        text = generate_latest(registry).decode()
        assert 'dormouse_gpu_memory_used_bytes{gpu="0",model="tiny",namespace="ns",pod="a"} 70.0' in text
        assert "dormouse_gpu_temperature_celsius{" not in text  # not told
        gpus.watch(KEY, {"b": "127.0.0.1"})
        assert gpus.of(KEY) is None  # the new pod has not been heard
        gpus.watch(KEY, {})
        assert gpus.of(KEY) == {}
        task.cancel()
        assert changes.empty()


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500),
        lambda: web.Response(body=b"{" * 10),
        lambda: web.Response(body=b" " * (LARGEST_ANSWER + 10)),
        lambda: web.json_response({"gpus": [{"gpu": "0", "utilization": 7}]}),
        lambda: web.HTTPFound("http://127.0.0.1:1/"),
    ],
)
async def test_what_no_pod_of_ours_says_is_no_answer(answer: object) -> None:
    asked = asyncio.Event()

    def noted() -> web.Response:
        asked.set()
        return answer()  # type: ignore[operator,no-any-return]

    async with server({"/gpus": noted}) as port:
        gpus = Gpus(lambda key: None, 0.01, port)
        gpus.watch(KEY, {"a": "127.0.0.1"})
        task = asyncio.create_task(gpus.run())
        for _ in range(2):  # the second comes after the first was judged
            asked.clear()
            await asyncio.wait_for(asked.wait(), 60)
        assert gpus.of(KEY) is None
        task.cancel()


def test_a_known_warning_of_another_pod_is_news() -> None:
    one = GpuWarning(pod="a", gpu="0", kind="Lost", since="x", message="m")
    other = one.model_copy(update={"pod": "b"})
    assert decide.news([one], [one, other]) == [other]
