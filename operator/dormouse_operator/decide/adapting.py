"""What is remembered of engines that ran out of memory, and the last rung of the ladder: a quantized copy. Pure.

The supervisor climbs within a pod and says what it came to; that is kept in the status, under a hash of all that
decides how much memory is needed. The next start begins with it. It reaches the pod template only while there is no
pod: what serves is never replaced for having learnt something.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dormouse_api.conditions import Reason
from dormouse_api.model import Quantization
from dormouse_api.names import ENV_RUNTIME_CONFIG, digest
from dormouse_api.runtime import MAX_ADAPTED, Adaptation, RuntimeConfig, RuntimeState, Setting, Stage
from dormouse_api.status import EngineAdaptation
from dormouse_operator.observed import Model, Profile, Runtime

COPY = "int4"
RESTARTS = 8
"""Of a container that goes over its limit: each is a rung of the ladder, taken by the next container."""


def key(model: Model, profile: Profile) -> str:
    """Hash of what decides how much memory is needed."""
    spec = model.spec
    asked = (spec.engine.model_dump_json(), spec.quantization.value, spec.source.uri, spec.source.revision)
    return digest(*asked, profile.spec.model_dump_json(), length=16)


def remembered(model: Model, profile: Profile | None) -> tuple[Adaptation, ...]:
    """What earlier starts came to; nothing where it was found out for another spec or profile."""
    known = model.status.engine
    if not model.spec.engine.adapt or known is None or profile is None or known.adapted_for != key(model, profile):
        return ()
    found = []
    for step in known.adapted or ():
        try:
            found.append(Adaptation.model_validate(step.model_dump()))
        except ValidationError:
            continue  # of another version
    return tuple(found)


def shrunk(model: Model, profile: Profile | None) -> bool:
    """Whether memory was so short that a quantized copy is made."""
    return any(step.setting is Setting.QUANTIZATION for step in remembered(model, profile))


def settled(config: RuntimeConfig, known: tuple[Adaptation, ...], runtime: Runtime | None) -> RuntimeConfig:
    """`config` with what was adapted: as the present pods were told, while there are any."""
    present = told(runtime.template) if runtime is not None and runtime.replicas > 0 else None
    if present is not None and present.model_copy(update={"adapted": ()}) == config:
        return present
    return config.model_copy(update={"adapted": known})


def told(template: Mapping[str, Any]) -> RuntimeConfig | None:
    """What a pod template tells the supervisor."""
    for container in (template.get("spec") or {}).get("containers") or ():
        for entry in container.get("env") or ():
            if entry.get("name") == ENV_RUNTIME_CONFIG:
                try:
                    return RuntimeConfig.model_validate_json(entry.get("value", "").replace("$$", "$"))
                except ValidationError:
                    return None
    return None


def learnt(model: Model, profile: Profile | None, state: RuntimeState | None, *, can_shrink: bool) -> dict[str, Any]:
    """The fields of `status.engine` that remember. `state`: what a runtime said that serves or has failed for good;
    `can_shrink`: the weights are served in full, and a copy can be made of them.
    """
    steps = state.adapted if state is not None else remembered(model, profile)
    if profile is None or not model.spec.engine.adapt:
        return {"adapted": None, "adapted_for": None}
    if state is not None and state.stage is Stage.FAILED and can_shrink:
        steps = _copied(model, state) or steps
    return {
        "adapted": [EngineAdaptation(**step.model_dump(mode="json")) for step in steps[:MAX_ADAPTED]] or None,
        "adapted_for": key(model, profile) if steps else None,
    }


def _copied(model: Model, state: RuntimeState) -> tuple[Adaptation, ...]:
    """The last rung: with half the weights or less all other settings are tried in full again."""
    short = [passed for passed in state.passed if passed.reason is Reason.OUT_OF_MEMORY]
    if not short or model.spec.quantization is not Quantization.AUTO:
        return ()
    last = short[-1]
    return (
        Adaptation(engine=last.engine, setting=Setting.QUANTIZATION, before="none", after=COPY, because=last.message),
    )
