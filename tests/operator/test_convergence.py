"""Whatever happens in whatever order, it converges, and then it writes nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operator.bench import Bench

EVENTS = st.lists(st.sampled_from(["look", "step", "wake", "time", "restart", "kill", "edit", "lose"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(1, 25))
async def test_any_order_of_events_converges_and_then_writes_nothing(events: list[str], crash: int) -> None:
    bench = Bench()
    bench.world.model("tiny")
    for event in events:
        await _happen(bench, event, crash)
    bench.world.fail_at = None
    bench.start()
    await bench.pass_time(1)
    bench.world.wake("tiny", 5)
    await bench.settle()
    await bench.pass_time(4000)
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.of_kind("Job") == []
    assert bench.of_kind("Pod") == []
    await bench.rests()


async def _happen(bench: Bench, event: str, crash: int) -> None:
    world = bench.world
    if event == "wake" and ("Lease", "ns", "tiny-runtime") in world.objects:
        world.wake("tiny", 30)
    elif event == "edit" and ("Deployment", "ns", "tiny-runtime") in world.objects:
        spec = world.objects["Deployment", "ns", "tiny-runtime"]["spec"]
        world.put("Deployment", "ns", "tiny-runtime", spec=spec | {"replicas": 5})
    elif event == "lose":
        for id_ in [id_ for id_ in world.objects if id_[0] in ("Job", "Service", "PersistentVolumeClaim")][:1]:
            world.remove(*id_, told=False)
    else:
        await bench.happen(event, crash)
