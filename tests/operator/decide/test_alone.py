"""Pictures and custom models: whether they have room, and what of their weights' own code matters."""

from typing import Any

import pytest

from dormouse_api.anatomy import Anatomy
from dormouse_operator.decide.fit import preflight
from dormouse_operator.decide.memory import GIB
from dormouse_operator.decide.remotecode import refusal
from dormouse_operator.observed import Profile
from tests.operator.builders import facts, gpu, model, profile

OWN: dict[str, Any] = {"custom": {"entryPoint": "house.prices:Model"}}
DRAWS: dict[str, Any] = {"capabilities": ("image",), "bytes": 12 * GIB}
HALVES: dict[str, Any] = {"anatomy": Anatomy(tensor_bytes={"F32": 12 * GIB})}


@pytest.mark.parametrize(
    ("known", "there", "fits", "words"),
    [
        (DRAWS, gpu("24Gi"), True, "12.0 GiB of weights + 3.0 GiB to draw = 15.0 of 24.0 GiB of profile cpu"),
        (DRAWS, gpu("15Gi"), True, "= 15.0 of 15.0 GiB"),
        (DRAWS, gpu("12Gi"), False, "more than the 12.0 GiB of profile cpu: use a profile whose devices have 15 GiB"),
        (DRAWS | HALVES, gpu("12Gi"), True, "6.0 GiB of weights + 3.0 GiB to draw = 9.0 of 12.0 GiB"),
        (DRAWS, gpu("12Gi", count=2), False, "15 GiB"),
        (DRAWS, profile(), None, "names no accelerator memory"),
        (DRAWS, gpu("12Gi", **OWN), None, "what the class of profile cpu makes of them, only its load tells"),
        ({}, profile(**OWN), None, "only its load tells"),
    ],
)
def test_room_without_a_cache(known: dict[str, Any], there: Profile, fits: bool | None, words: str) -> None:
    verdict = preflight(model(), facts(**known), there, "none")
    assert (verdict.fits, verdict.kv_bytes) == (fits, 0)
    assert words in verdict.message
    assert "KV" not in verdict.message


def test_code_among_the_weights_is_the_administrators_business_where_the_class_is_his() -> None:
    needs = facts(remote_code=True)
    assert refusal(model(), needs, profile()) is not None
    assert refusal(model(), needs, profile(**OWN)) is None
