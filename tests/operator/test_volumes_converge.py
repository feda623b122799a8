"""Whatever happens to models that share a volume: one volume, all its models own it, and then nothing is written."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_api import names
from tests.operator.bench import Bench

SAME = {"source": {"uri": "hf://org/same"}}
NAMES = ("one", "two", "three")
EVENTS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "look", "step", "time", "kill", "restart"]), st.sampled_from(NAMES)),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(EVENTS, st.integers(1, 25))
async def test_models_that_come_and_go_share_one_volume(events: list[tuple[str, str]], crash: int) -> None:
    bench = Bench()
    for event, name in events:
        await _happen(bench, event, name, crash)
    bench.world.fail_at = None
    bench.start()
    await bench.settle()
    await bench.pass_time(4000)
    alive = [n for n in NAMES if (names.MODEL_KIND, "ns", n) in bench.world.objects]
    for name in alive:
        assert bench.condition(name=name) == ("True", "ScaledToZero")
    claims = bench.of_kind("PersistentVolumeClaim")
    assert len(claims) == (1 if alive else 0)
    for claim in claims:
        owners = bench.world.objects["PersistentVolumeClaim", "ns", claim]["metadata"]["ownerReferences"]
        assert sorted(o["name"] for o in owners) == sorted(alive)
    assert bench.of_kind("Job") == []
    await bench.rests()


async def _happen(bench: Bench, event: str, name: str, crash: int) -> None:
    world = bench.world
    if event == "add" and (names.MODEL_KIND, "ns", name) not in world.objects:
        world.model(name, **SAME)
    elif event == "remove":
        world.remove(names.MODEL_KIND, "ns", name)
    else:
        await bench.happen(event, crash)
