"""What the status says of a quantized copy, and whether it is good enough. Pure.

A copy is judged by how often it would have said the same next word as the original (`dormouse_api.results.Quality`).
"""

from dormouse_api.results import Quality, QuantizeResult
from dormouse_api.status import CopyQuality, QuantizedCopy

GOOD_AGREEMENT = 0.9
"""Below it the copy is another model more often than users forgive. Rounded copies of sound models keep 0.93 and more
(docs/quantization.md has what was measured); a copy with damaged scales keeps next to nothing."""


def told(made: QuantizeResult | None, known: QuantizedCopy | None, folder: str | None) -> QuantizedCopy | None:
    """The copy in `folder`: what its Job has told just now, or what is remembered of it."""
    if folder is None:
        return None
    if made is None:
        return known if known is not None and known.folder == folder else None
    return QuantizedCopy(
        folder=folder,
        method=made.method,
        algorithm=made.algorithm,
        bytes=made.bytes,
        original_bytes=made.original_bytes,
        seconds=round(made.seconds),
        quality=_quality(made.quality),
    )


def sentence(method: str, copy: QuantizedCopy | None) -> str:
    """What the condition says of a copy that serves."""
    quality = copy.quality if copy is not None else None
    said = f"the {method} copy lies on the volume"
    if quality is None:
        return said
    if quality.agreement is None:
        return f"{said}; its quality was not measured: {quality.skipped}"
    share = f"{float(quality.agreement):.1%} of {quality.tokens} tokens"
    return f"{said}; it says the same next word as the original at {share}"


def warning(copy: QuantizedCopy | None) -> str | None:
    """What is wrong with the copy's quality and what to do, as a sentence. None where nothing is, or nobody knows."""
    quality = copy.quality if copy is not None else None
    if copy is None or quality is None or quality.agreement is None or float(quality.agreement) >= GOOD_AGREEMENT:
        return None
    return (
        f"the {copy.method} copy says the same next word as the original at only {float(quality.agreement):.0%} of "
        f"{quality.tokens} tokens: {_fix(copy)}"
    )


def _fix(copy: QuantizedCopy) -> str:
    gentler = {"int4": "int8", "nf4": "llm-int8"}.get(copy.method)
    steered = copy.algorithm in ("gptq", "awq")
    ways = [f"set quantization {gentler}"] if gentler else []
    if copy.method == "int4" and not steered:
        ways.append("calibrate it (spec.calibration)")
    return ", ".join([*ways, "or set quantization none"]) if ways else "set quantization none"


def _quality(seen: Quality | None) -> CopyQuality | None:
    if seen is None:
        return None
    return CopyQuality(
        tokens=seen.tokens,
        agreement=None if seen.agreement is None else f"{seen.agreement:.3f}",
        divergence=None if seen.divergence is None else f"{seen.divergence:.4f}",
        skipped=seen.skipped,
    )
