"""What routers obey alone: the operator has nothing to do for it."""

from dormouse_api import names
from tests.operator.bench import Bench


async def test_neither_words_for_people_nor_who_may_see_it_change_what_runs(bench: Bench) -> None:
    bench.world.model("tiny", scaling={"minReplicas": 1})
    await bench.settle()
    written = len(bench.world.writes)
    access = {"visibility": "Private", "owner": "0" * 64}
    bench.world.model("tiny", scaling={"minReplicas": 1}, access=access, description="Small.")
    await bench.settle()
    ours = [(kind, name) for kind, verb, name in bench.world.writes[written:] if verb != "world"]
    assert ours == [(names.MODEL_KIND, "tiny")], "its status, which tells of the new generation"
