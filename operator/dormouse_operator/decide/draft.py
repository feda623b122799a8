"""The draft model of speculative decoding: what is known of it, and what the runtime is told. Pure."""

from dormouse_api import names
from dormouse_api.names import MODELS_DIR
from dormouse_api.source import Place
from dormouse_api.speculative import DraftStatus, Method, SpeculativeConfig
from dormouse_operator.observed import Model


def source(model: Model) -> Place | None:
    """Where it comes from, where the spec asks for one."""
    asked = model.spec.engine.speculative
    return asked.source if asked is not None and asked.method is Method.DRAFT else None


def key(place: Place) -> str:
    """Hash of what is pulled; another one means pulling anew."""
    return names.digest(place.uri, place.revision)


def recorded(model: Model) -> DraftStatus | None:
    """What the status remembers of the one that the spec asks for."""
    place, told = source(model), model.status.draft
    return told if place is not None and told is not None and told.key == key(place) else None


def config(model: Model, told: DraftStatus | None) -> SpeculativeConfig | None:
    """For the runtime pod. Without its draft, a model that asks for one is served as if it asked for nothing."""
    asked = model.spec.engine.speculative
    commit = told.commit if told is not None else None
    if asked is None or (asked.method is Method.DRAFT and commit is None):
        return None
    return SpeculativeConfig(
        method=asked.method,
        tokens=asked.tokens,
        prompt_lookup_min=asked.prompt_lookup_min,
        prompt_lookup_max=asked.prompt_lookup_max,
        draft_dir=f"{MODELS_DIR}/{commit}" if commit is not None else None,
    )
