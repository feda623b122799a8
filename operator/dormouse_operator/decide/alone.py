"""Models that one engine alone serves: pictures, and those whose profile has Python of its own. Pure."""

from dormouse_api.model import Engine
from dormouse_api.profile import Device
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.memory import GIB
from dormouse_operator.decide.quantities import to_bytes
from dormouse_operator.observed import Profile

DRAWING_BYTES = 3 * GIB
"""The device's context and what drawing a picture of a megapixel takes beside the weights: an estimate, on the high
side for small pipelines and on the low side for large pictures."""


def only_engine(facts: Facts, profile: Profile) -> Engine | None:
    """The one engine of models that are no language models, or whose profile has Python of its own."""
    if profile.spec.custom is not None:
        return Engine.CUSTOM
    return Engine.DIFFUSERS if "image" in facts.capabilities else None


def room(engine: Engine, weights: int, profile: Profile) -> tuple[bool | None, str]:
    """Whether the model has room on one device of the profile, and the arithmetic; None where nobody can tell."""
    spec, held = profile.spec, f"{_gib(weights)} GiB of weights"
    if engine is Engine.CUSTOM:
        return None, f"{held}; what the class of profile {profile.name} makes of them, only its load tells"
    if spec.accelerator is None or spec.device is not Device.CUDA:
        return None, f"{held}; profile {profile.name} names no accelerator memory to compare this with"
    needed, memory = weights + DRAWING_BYTES, to_bytes(spec.accelerator.memory)
    total = f"{held} + {_gib(DRAWING_BYTES)} GiB to draw = {_gib(needed)}"
    if needed <= memory:
        return True, f"{total} of {_gib(memory)} GiB of profile {profile.name}"
    size = -(-needed // GIB)
    text = f"{total} GiB, more than the {_gib(memory)} GiB of profile {profile.name}: use a profile whose devices have "
    return False, f"{text}{size} GiB"


def _gib(count: int) -> str:
    return f"{count / GIB:.1f}"
