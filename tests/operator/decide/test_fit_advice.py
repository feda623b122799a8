"""What Preflight advises is true: whoever follows any one piece of its advice gets a model that fits."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.fit import Preflight, preflight
from dormouse_operator.observed import Model, Profile
from tests.operator.builders import gpu, model
from tests.operator.decide.repositories import NAMES, facts

ADVICE = {
    "context": re.compile(r"set engine\.maxModelLen at most ([\d,]+)"),
    "both": re.compile(r"set quantization int4 with engine\.maxModelLen at most ([\d,]+)"),
    "int4": re.compile(r"set quantization int4 \(([\d.]+) GiB in all\)"),
    "devices": re.compile(r"use a profile with (\d+) such devices"),
    "larger": re.compile(r"use a profile whose devices have (\d+) GiB( and leave out its kvCacheMemory)?"),
    "cache": re.compile(r"set the profile's kvCacheMemory from (\d+)Mi to (\d+)Mi, or leave it out"),
}
MEMORY = st.integers(min_value=2, max_value=96)
CONTEXTS = st.sampled_from([None, 2048, 4096, 8192, 32_768, 131_072])


def follow(
    advice: tuple[str, re.Match[str]], m: Model, known: Facts, profile: Profile, quantization: str
) -> list[Preflight]:
    """The verdicts after the advice was followed, in each way that it offers."""
    kind, found = advice
    number = int(found[1].replace(",", "")) if kind != "int4" else 0
    card = profile.spec.accelerator
    assert card is not None
    shorter = model(engine={"maxModelLen": number}) if kind in ("context", "both") else m
    quantization = "int4" if kind in ("both", "int4") else quantization
    changes: list[dict[str, Any]] = [{}]
    if kind == "devices":
        changes = [{"accelerator": card.model_copy(update={"count": number})}]
    elif kind == "larger":
        changes = [{"accelerator": card.model_copy(update={"memory": f"{number}Gi"})}]
        if found[2]:
            changes[0]["kv_cache_memory"] = None
    elif kind == "cache":
        changes = [
            {"kv_cache_memory": f"{found[1]}Mi"},
            {"kv_cache_memory": f"{found[2]}Mi"},
            {"kv_cache_memory": None},
        ]
    return [
        preflight(shorter, known, Profile(profile.name, profile.spec.model_copy(update=change)), quantization)
        for change in changes
    ]


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(NAMES),
    MEMORY,
    st.sampled_from([1, 2, 4]),
    CONTEXTS,
    st.sampled_from(["none", "int4"]),
    st.none() | st.integers(min_value=1, max_value=40),
)
def test_following_any_advice_makes_it_fit(
    name: str, memory: int, count: int, context: int | None, quantization: str, cache: int | None
) -> None:
    known = facts(name)
    quantization = known.native_quantization or quantization
    m = model(engine={"maxModelLen": context} if context else {})
    card = gpu(f"{memory}Gi", count=count)
    spec = card.spec.model_copy(update={"kv_cache_memory": f"{cache}Gi" if cache else None})
    profile = Profile(card.name, spec)
    verdict = preflight(m, known, profile, quantization)
    if verdict.fits is not False:
        return
    given_advice = {kind: found for kind, shape in ADVICE.items() if (found := shape.search(verdict.message))}
    if "attention heads" in verdict.message:
        assert "use a profile with accelerator.count" in verdict.message
        return
    assert "larger" in given_advice, "there is always a way"
    for kind, found in given_advice.items():
        for after in follow((kind, found), m, known, profile, quantization):
            assert after.fits, f"{kind}: {verdict.message}\n-> {after.message}"
