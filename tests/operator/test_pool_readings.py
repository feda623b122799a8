"""How often the pool of a full accelerator is read: when something changes, not whenever it is looked at."""

from collections import Counter

import pytest

from dormouse_api import names
from dormouse_operator.turns import FRESH_SECONDS, RUNTIMES
from tests.operator.shared import Shared


@pytest.fixture
def shared() -> Shared:
    return Shared()


def counted(shared: Shared) -> Counter[str]:
    """LISTs of a pool, by kind."""
    found: Counter[str] = Counter()
    ask = shared.world.list

    async def count(kind: str, namespace: str | None = None, selector: str = "") -> list[dict[str, object]]:
        if selector == RUNTIMES or kind in (names.MODEL_KIND, names.PROFILE_KIND):
            found[kind] += 1
        return await ask(kind, namespace, selector)

    shared.world.list = count  # type: ignore[method-assign]
    return found


async def test_a_long_wait_is_looked_at_every_two_seconds_and_read_when_something_changes(shared: Shared) -> None:
    await shared.add("a")
    b = await shared.add("b")
    shared.call("a", seconds=300)
    await shared.run(20)
    shared.call("b")
    await shared.run(20)
    lists, looks = counted(shared), len(shared.quiet.results)
    await shared.run(200)
    assert len(shared.quiet.results) - looks >= 200, "both look again and again"
    # leases are renewed every ten seconds by either, and ten seconds are the longest that a reading counts
    assert lists["Deployment"] <= 3 * 200 / FRESH_SECONDS
    await shared.run(120)
    assert len(b.waits) == 1


async def test_what_nobody_tells_of_is_seen_after_a_few_seconds(shared: Shared) -> None:
    await shared.add("a")
    b = await shared.add("b")
    shared.call("a")
    await shared.run(10)
    shared.world.ending_seconds = 1000.0
    shared.call("b")
    await shared.run(20)
    assert not b.waits, "the device is held by a pod that does not end"
    heard, shared.reconciler.heard = shared.reconciler.heard, lambda plural: None  # type: ignore[method-assign]
    [pod] = shared.world.pods_of("a")
    shared.world.remove("Pod", "ns", pod["metadata"]["name"], told=False)
    await shared.run(FRESH_SECONDS + 5)
    shared.reconciler.heard = heard  # type: ignore[method-assign]
    assert len(b.waits) == 1
