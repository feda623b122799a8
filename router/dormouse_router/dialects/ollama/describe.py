"""How a model of the catalogue looks in Ollama's lists and details. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from dormouse_api.conditions import ConditionType
from dormouse_api.lease import FOREVER, parse_time
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.ollama.durations import FOREVER_TIME, timestamp
from dormouse_router.dialects.ollama.names import listed
from dormouse_router.dialects.ollama.options import DEFAULTS

_HEAD = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration|ForSequenceClassification|Model|MoE)+$")
_SCALES = ((1e12, "T", 1), (1e9, "B", 1), (1e6, "M", 2), (1e3, "K", 2))
_TEMPLATE = "{{ if .System }}{{ .System }}\n{{ end }}{{ .Prompt }}"
_FIM_TEMPLATE = "{{ .Prompt }}{{ .Suffix }}"
"""Editors look for .Suffix to learn whether a model can fill in the middle."""


def digest(record: Record) -> str:
    """64 hex characters that change exactly when other weights, or the same in another form, are served."""
    parts = (record.spec.source.uri, record.status.commit or record.spec.source.revision, record.quantization)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def modified_at(record: Record) -> str:
    """When the weights came, or where they have not come the model's creation."""
    times = [
        c.last_transition_time
        for c in record.status.conditions or ()
        if c.type == ConditionType.MODEL_PULLED and c.status == "True"
    ]
    return timestamp(parse_time(times[0]) if times else record.created)


def family(record: Record) -> str:
    """llama, qwen2, ...: also the prefix of model_info's keys."""
    inspected = record.status.inspected
    if inspected and inspected.model_type:
        return inspected.model_type
    return _HEAD.sub("", record.status.architecture or "").lower() or "unknown"


def parameter_size(parameters: int | None) -> str:
    """1.2B, 125.00M, ... as Ollama writes it; empty where nobody knows."""
    for scale, unit, digits in _SCALES:
        if parameters and parameters >= scale:
            return f"{parameters / scale:.{digits}f}{unit}"
    return str(parameters) if parameters else ""


def quantization_level(record: Record) -> str:
    """INT4, NF4, ... or where the weights are served as they came their own quantization or type, such as BF16."""
    if record.quantization not in ("none", "auto"):
        return record.quantization.upper()
    inspected = record.status.inspected
    if inspected and (own := inspected.native_quantization or inspected.dtype):
        return own.replace("bfloat", "BF").replace("float", "F").upper()
    return "unknown"


def details(record: Record) -> dict[str, Any]:
    known = {
        "context_length": record.context_length,
        "embedding_length": record.status.inspected.embedding_length if record.status.inspected else None,
    }
    return {
        "parent_model": "" if record.adapter is None else listed(record.name),
        "format": "safetensors",
        "family": family(record),
        "families": [family(record)],
        "parameter_size": parameter_size(record.status.parameters),
        "quantization_level": quantization_level(record),
    } | {name: value for name, value in known.items() if value}


def capabilities(record: Record) -> list[str]:
    """As inspected; a model that was not looked at yet is taken for one that completes."""
    known = record.status.capabilities
    return list(known) if known is not None else ["completion"]


def listing(record: Record, name: str) -> dict[str, Any]:
    """One entry of /api/tags: a model under one of its names."""
    shown = listed(name)
    return {
        "name": shown,
        "model": shown,
        "modified_at": modified_at(record),
        "size": record.status.bytes or 0,
        "digest": digest(record),
        "details": details(record),
        "capabilities": capabilities(record),
    }


def running(record: Record, name: str, ends: float | None, now: float) -> dict[str, Any]:
    """One entry of /api/ps: a model under one of its names, as the lists have it, for clients look for the one they
    called. `ends`: when it may sleep (seconds since the epoch), None where nobody asked it to wake.

    `size_vram` equals `size` on an accelerator and is 0 on a CPU, which clients print as 100% GPU and 100% CPU.
    """
    shown = listed(name)
    size = record.status.bytes or 0
    return {
        "name": shown,
        "model": shown,
        "size": size,
        "digest": digest(record),
        "details": details(record),
        "expires_at": _expires(record, ends, now),
        "size_vram": 0 if record.status.device == "cpu" else size,
        "context_length": record.context_length or 0,
    }


def _expires(record: Record, ends: float | None, now: float) -> str:
    pinned = record.spec.scaling.min_replicas > 0
    if pinned or (ends is not None and ends - now > FOREVER / 2):
        return FOREVER_TIME
    return timestamp(ends if ends is not None else now)


def model_info(record: Record, name: str, user_agent: str) -> dict[str, Any]:
    """Never empty; the numbers are 0 where they are not known yet. One editor wants its own name back."""
    arch = family(record)
    inspected = record.status.inspected
    info: dict[str, Any] = {
        "general.architecture": arch,
        "general.parameter_count": record.status.parameters or 0,
        f"{arch}.context_length": record.context_length or 0,
        f"{arch}.embedding_length": (inspected.embedding_length if inspected else None) or 0,
    }
    anatomy = inspected.anatomy if inspected else None
    if anatomy is not None:
        known = {
            "feed_forward_length": anatomy.intermediate_size,
            "attention.head_count": anatomy.attention_heads,
            "vocab_size": anatomy.vocabulary,
        }
        info |= {f"{arch}.{key}": value for key, value in known.items() if value}
    if user_agent.startswith("GitHubCopilotChat/"):
        info["general.basename"] = name
    return info


def parameters(record: Record, given: Mapping[str, object] | None = None) -> str:
    """The sampling of a request that asks for nothing (`given`, else Ollama's own) and the real context, one a line."""
    shown: dict[str, object] = {name: DEFAULTS[name] for name in ("temperature", "top_k", "top_p")}
    if length := record.context_length:
        shown["num_ctx"] = length
    shown |= given or {}
    return "\n".join(f"{key:<30} {parameter(value)}" for key in sorted(shown) for value in each(shown[key]))


def each(value: object) -> list[object]:
    """The values of a parameter: a Modelfile has a line for each."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def parameter(value: object) -> str:
    """One value as a Modelfile has it: texts are quoted."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def licence(record: Record) -> str:
    """Where the licence of the weights is said: the router has no copy of its text."""
    return f"The weights come from {record.spec.source.uri}: the licence they are published under there holds."


def template(record: Record) -> str:
    """The model's own, where the spec has it; else one that tells editors what the model can do."""
    fim = "insert" in capabilities(record)
    return record.spec.engine.chat_template or (_FIM_TEMPLATE if fim else _TEMPLATE)


def show(record: Record, name: str, user_agent: str) -> dict[str, Any]:
    """The answer of /api/show; `name` as the client wrote it."""
    return {
        "license": licence(record),
        "modelfile": f"# {record.full_name}, served from {record.spec.source.uri}\nFROM {listed(record.name)}\n",
        "parameters": parameters(record),
        "template": template(record),
        "details": details(record),
        "model_info": model_info(record, name, user_agent),
        "capabilities": capabilities(record),
        "modified_at": modified_at(record),
    }


def names_listed(record: Record) -> list[str]:
    """The names a list shows: every served one but `<namespace>/<name>`, which only tells two models apart."""
    return [name for name in record.served if name != record.full_name]
