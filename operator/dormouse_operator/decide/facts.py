"""What is known of the weights once they are inspected, whether just now or long ago. Pure."""

from dataclasses import dataclass

from dormouse_api.anatomy import Anatomy
from dormouse_api.names import digest
from dormouse_api.results import InspectResult
from dormouse_api.status import Inspected
from dormouse_operator.observed import Model


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
        capabilities=tuple(status.capabilities or ()),
        native_quantization=seen.native_quantization,
        dtype=seen.dtype,
        model_type=seen.model_type,
        embedding_length=seen.embedding_length,
        infill=seen.infill,
        remote_code=seen.remote_code,
        anatomy=seen.anatomy,
    )


def from_result(model: Model, result: InspectResult) -> Facts:
    """What an inspect Job said; parsers that the user names add their capability."""
    extra = [
        name
        for name, parser in (
            ("tools", model.spec.engine.tool_call_parser),
            ("thinking", model.spec.engine.reasoning_parser),
        )
        if parser and name not in result.capabilities
    ]
    return Facts(
        commit=result.commit,
        bytes=result.bytes,
        files=result.files,
        architecture=result.architecture,
        parameters=result.parameters,
        context_length=result.context_length,
        capabilities=(*result.capabilities, *extra),
        native_quantization=result.native_quantization,
        dtype=result.dtype,
        model_type=result.model_type,
        embedding_length=result.embedding_length,
        infill=result.infill,
        remote_code=result.remote_code,
        anatomy=result.anatomy,
    )


def inspected(model: Model, facts: Facts) -> Inspected:
    """The part of the facts that the status keeps for the operator itself."""
    return Inspected(
        key=key(model),
        files=facts.files,
        dtype=facts.dtype,
        native_quantization=facts.native_quantization,
        model_type=facts.model_type,
        embedding_length=facts.embedding_length,
        infill=facts.infill,
        remote_code=facts.remote_code,
        anatomy=facts.anatomy,
    )
