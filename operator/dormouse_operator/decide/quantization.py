"""Which engines to try on which folder, and whether a quantized copy must be made first. Pure.

vLLM serves weights as they are and compressed-tensors copies (int4, int8, fp8); transformers serves weights as they
are and bitsandbytes ones (nf4, llm-int8), and stands in for vLLM's int4 and int8 by quantizing while it loads.
Pipelines that draw are diffusers' alone, and a profile with `custom` has every model served by its own Python: both
take the weights as they are, and `engine.order` is not asked.
"""

from dataclasses import dataclass

from dormouse_api.calibration import Calibration
from dormouse_api.model import Engine, Quantization
from dormouse_api.names import MODELS_DIR, digest
from dormouse_api.runtime import Attempt
from dormouse_operator.decide import adapting
from dormouse_operator.decide.alone import only_engine
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.fit import can_become, preflight
from dormouse_operator.observed import Model, Profile

FALLBACK = {"int4": "nf4", "int8": "llm-int8", "fp8": "llm-int8"}
"""What transformers makes itself from the full weights where vLLM would serve the copy."""
COPIES_VLLM = frozenset(FALLBACK)
COPIES_TRANSFORMERS = frozenset({"nf4", "llm-int8"})
CARRIED = frozenset({"gptq", "awq"})
BITSANDBYTES = "bitsandbytes"
OF_WORDS = frozenset({Engine.VLLM, Engine.TRANSFORMERS})


@dataclass(frozen=True)
class Serving:
    """How the weights are served."""

    quantization: str
    """What the user's choice came to: none, int4, ..., or what the weights carry."""
    copy: str | None
    """Method of the quantized copy that must lie on the volume first."""
    attempts: tuple[Attempt, ...]
    folder: str | None = None
    """Name, below /models, of that copy."""


@dataclass(frozen=True)
class Impossible:
    """No engine can serve what the spec asks for; the message says what to change."""

    message: str


def copy_folder(commit: str, method: str, calibration: Calibration | None = None) -> str:
    """Name, below /models, of a quantized copy. Another calibration makes another copy."""
    steered = f"-{digest(calibration.model_dump_json())}" if calibration is not None else ""
    return f"{commit}-{method}{steered}"


def choose(model: Model, facts: Facts, profile: Profile, threshold: int) -> Serving | Impossible:
    """The serving of `model`, from its spec, what its weights are, and what the profile has room for.

    `auto` keeps what the weights carry; others become int4 beyond `threshold` bytes, or where nothing else fits, or
    where a start has shown that (engine.adapt).
    """
    wanted, native = model.spec.quantization, facts.native_quantization
    if alone := only_engine(facts, profile):
        return _alone(alone, facts, wanted)
    order = tuple(engine for engine in dict.fromkeys(model.spec.engine.order) if engine in OF_WORDS)
    if not order:
        return Impossible(
            f"engine.order names only {', '.join(model.spec.engine.order)}, which serve no language model: add vllm or "
            "transformers (a custom model needs a profile with spec.custom)"
        )
    if wanted in (Quantization.AUTO, Quantization.NONE):
        if native:
            return _as_they_are(facts, native, order)
        if wanted is Quantization.AUTO and _shall_shrink(model, facts, profile, threshold):
            return _copied(facts, "int4", order)
        return _as_they_are(facts, "none", order)
    if wanted.value in CARRIED:
        if native != wanted.value:
            return Impossible(
                f"quantization {wanted.value} means weights that already carry it; these carry {native or 'none'}: "
                f"use a {wanted.value.upper()} repository, or quantization int4 to make a copy"
            )
        return _as_they_are(facts, wanted.value, order)
    if native:
        return Impossible(
            f"the weights are already quantized ({native}) and cannot become {wanted.value}: "
            "set quantization to auto, or name the repository of the full weights"
        )
    if model.spec.calibration is not None and profile.spec.quantizer_image is None:
        return Impossible(
            f"calibration needs an image of its own, and RuntimeProfile {profile.name} names none: let an "
            "administrator set its spec.quantizerImage, or remove spec.calibration"
        )
    return _copied(facts, wanted.value, order, model.spec.calibration)


def _alone(engine: Engine, facts: Facts, wanted: Quantization) -> Serving | Impossible:
    if wanted not in (Quantization.AUTO, Quantization.NONE):
        return Impossible(f"the {engine.value} engine serves weights as they are: set quantization to auto or none")
    folder = f"{MODELS_DIR}/{facts.commit}"
    return Serving("none", None, (Attempt(engine=engine, model_dir=folder),))


def _shall_shrink(model: Model, facts: Facts, profile: Profile, threshold: int) -> bool:
    if not can_become(facts, "int4"):
        return False
    if facts.bytes > threshold or adapting.shrunk(model, profile):
        return True
    return preflight(model, facts, profile, "none").fits is False


def _as_they_are(facts: Facts, quantization: str, order: tuple[Engine, ...]) -> Serving | Impossible:
    folder = f"{MODELS_DIR}/{facts.commit}"
    usable = [e for e in order if not (e is Engine.VLLM and quantization == BITSANDBYTES)]
    if not usable:
        return Impossible("vLLM serves no bitsandbytes weights here: add transformers to engine.order")
    attempts = tuple(Attempt(engine=e, model_dir=folder, quantization=quantization) for e in usable)
    return Serving(quantization, None, attempts)


def _copied(
    facts: Facts, method: str, order: tuple[Engine, ...], calibration: Calibration | None = None
) -> Serving | Impossible:
    folder = copy_folder(facts.commit, method, calibration)
    full, copied = f"{MODELS_DIR}/{facts.commit}", f"{MODELS_DIR}/{folder}"
    if method in COPIES_TRANSFORMERS:
        if Engine.TRANSFORMERS not in order:
            return Impossible(f"quantization {method} is served by transformers only: add it to engine.order")
        attempt = Attempt(engine=Engine.TRANSFORMERS, model_dir=copied, quantization=method)
        return Serving(method, method, (attempt,), folder)
    attempts = tuple(
        Attempt(engine=e, model_dir=copied, quantization=method)
        if e is Engine.VLLM
        else Attempt(engine=e, model_dir=full, quantization=FALLBACK[method])
        for e in order
    )
    if Engine.VLLM not in order:
        return Serving(method, None, attempts)
    return Serving(method, method, attempts, folder)
