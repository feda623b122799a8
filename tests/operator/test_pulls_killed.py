"""The line for a pull while the operator dies anywhere: never too many pulls, nobody left out, and the order kept."""

import random

import pytest

from dormouse_api import names
from tests.operator.bench import Bench
from tests.operator.test_pulls import Line
from tests.operator.world import KilledError


@pytest.mark.parametrize("seed", range(6))
async def test_killed_anywhere_there_are_never_more_than_the_places(bench: Bench, seed: int) -> None:
    dice, pulls = random.Random(seed), Line(bench)  # noqa: S311 - when to die, no secret
    waiting = [f"m{number}" for number in range(7)]
    for name in waiting:
        spec = {"source": {"uri": f"hf://org/{name}"}, "priority": dice.choice([0, 0, 3])}
        bench.world.put(names.MODEL_KIND, "ns", name, spec=spec)
    for _ in range(400):
        bench.world.fail_at = bench.world.calls + dice.randint(1, 60) if dice.random() < 0.7 else None
        try:
            await bench.settle()
        except KilledError:
            bench.start()
        bench.world.now += 1.0
        busy = sorted(set(pulls.pulling()) - pulls.finished)
        if busy and dice.random() < 0.5:
            name = dice.choice(busy)
            if dice.random() < 0.2:
                waiting.remove(name)
                bench.world.remove(names.MODEL_KIND, "ns", name)
            else:
                pulls.finished.add(name)
        if pulls.finished >= set(waiting):
            break
    bench.world.fail_at = None
    await bench.pass_time(60)
    assert pulls.most == 2
    assert all(bench.condition("ModelPulled", name) == ("True", "Pulled") for name in waiting)
    assert not pulls.queue()
