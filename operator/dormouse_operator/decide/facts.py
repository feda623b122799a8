"""What is known of the weights once they are inspected, whether just now or long ago. Pure."""

from dataclasses import dataclass

from dormouse_api.anatomy import Anatomy
from dormouse_api.names import digest
from dormouse_api.results import InspectResult
from dormouse_api.status import Inspected
from dormouse_operator.decide import parsers
from dormouse_operator.observed import Model

PREDICT = "predict"


@dataclass(frozen=True)
class Facts:
    """The inspection's result, as later decisions use it."""

    commit: str
    bytes: int
    files: int = 0
    architecture: str | None = None
    parameters: int | None = None
    context_length: int | None = None
    capabilities: tuple[str, ...] = ()
    native_quantization: str | None = None
    dtype: str | None = None
    model_type: str | None = None
    embedding_length: int | None = None
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    infill: str | None = None
    remote_code: bool = False
    anatomy: Anatomy | None = None


def key(model: Model) -> str:
    """Hash of what an inspection looks at; another one means inspecting anew."""
    return digest(model.spec.source.uri, model.spec.source.revision)


def recorded(model: Model) -> Facts | None:
    """What the status remembers, if it is of the present source and revision."""
    status = model.status
    seen = status.inspected
    if seen is None or seen.key != key(model) or status.commit is None or status.bytes is None:
        return None
    return Facts(
        commit=status.commit,
        bytes=status.bytes,
        files=seen.files,
        architecture=status.architecture,
        parameters=status.parameters,
        context_length=status.context_length,
        capabilities=tuple(status.capabilities or () if seen.capabilities is None else seen.capabilities),
        native_quantization=seen.native_quantization,
        dtype=seen.dtype,
        model_type=seen.model_type,
        embedding_length=seen.embedding_length,
        tool_call_parser=seen.tool_call_parser,
        reasoning_parser=seen.reasoning_parser,
        infill=seen.infill,
        remote_code=seen.remote_code,
        anatomy=seen.anatomy,
    )


def from_result(model: Model, result: InspectResult) -> Facts:
    """What an inspect Job said; parsers that the user names add their capability, or take it away."""
    return Facts(
        commit=result.commit,
        bytes=result.bytes,
        files=result.files,
        architecture=result.architecture,
        parameters=result.parameters,
        context_length=result.context_length,
        capabilities=parsers.capabilities(result.capabilities, model.spec.engine),
        native_quantization=result.native_quantization,
        dtype=result.dtype,
        model_type=result.model_type,
        embedding_length=result.embedding_length,
        tool_call_parser=result.tool_call_parser,
        reasoning_parser=result.reasoning_parser,
        infill=result.infill,
        remote_code=result.remote_code,
        anatomy=result.anatomy,
    )


def capabilities(facts: Facts, custom: bool) -> tuple[str, ...]:
    """What clients may ask of the model. The administrator's own Python (`custom`) takes predictions only."""
    return (PREDICT,) if custom else facts.capabilities


def inspected(model: Model, facts: Facts, custom: bool = False) -> Inspected:
    """The part of the facts that the status keeps for the operator itself."""
    return Inspected(
        capabilities=list(facts.capabilities) if custom else None,
        key=key(model),
        files=facts.files,
        dtype=facts.dtype,
        native_quantization=facts.native_quantization,
        model_type=facts.model_type,
        embedding_length=facts.embedding_length,
        tool_call_parser=facts.tool_call_parser,
        reasoning_parser=facts.reasoning_parser,
        infill=facts.infill,
        remote_code=facts.remote_code,
        anatomy=facts.anatomy,
    )
