"""Ollama's `options` as the engine's sampling parameters.

Ollama's own defaults are always sent: the engine would otherwise take the model's generation_config. Precedence:
built-in < the route's < request. Options without a meaning here (threads, devices, mirostat, ...) are ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from dormouse_api.route import Defaults
from dormouse_router.catalog.record import NOTHING
from dormouse_router.dialects.ollama.errors import bad_request

log = structlog.get_logger()

DEFAULTS: dict[str, object] = {
    "temperature": 0.8,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}

_LARGEST = 2**63 - 1
LONGEST = 1_000_000
"""Tokens asked for where the context's length is not known: the engine says what it is, and is asked again."""


@dataclass(frozen=True)
class Sampling:
    """`parameters` go into the engine's request as they are; with `prompt_only` nothing it writes is shown."""

    parameters: dict[str, object]
    prompt_only: bool = False


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad_request(f'option "{name}" must be of type float32')
    if abs(value) > _LARGEST:
        raise bad_request(f'option "{name}" is out of range')
    return float(value)


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad_request(f'option "{name}" must be of type integer')
    if abs(value) > _LARGEST:
        raise bad_request(f'option "{name}" is out of range')
    return int(value)


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise bad_request(f'option "{name}" must be of type boolean')
    return value


def _strings(name: str, value: object) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise bad_request(f'option "{name}" must be of type array of strings')
    return [item for item in value if item]


_Check = Callable[[str, object], object]
_CHECKS: dict[str, _Check] = {
    **dict.fromkeys(
        ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"),
        _number,
    ),
    **dict.fromkeys(("seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_keep"), _integer),
    **dict.fromkeys(("num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"), _integer),
    "use_mmap": _boolean,
    "stop": _strings,
}
"""The options that are checked. Those Ollama removed are still sent by old clients, in any type, and ignored."""
_REMOVED = frozenset(
    (
        *("mirostat", "mirostat_eta", "mirostat_tau", "tfs_z", "penalize_newline", "numa"),
        *("low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock"),
    )
)
_told: set[str] = set()
_MOST_TOLD = 100
"""Unknown options that are logged, each once: clients choose their names."""
_RENAMED = {"repeat_penalty": "repetition_penalty"}
_SENT: dict[str, Callable[[float], float]] = {
    "temperature": lambda value: max(0.0, value),
    "top_p": lambda value: min(1.0, max(1e-6, value)),
    "top_k": lambda value: max(0, value),
    "min_p": lambda value: min(1.0, max(0.0, value)),
    "repeat_penalty": lambda value: value if value > 0 else 1.0,
    "presence_penalty": lambda value: min(2.0, max(-2.0, value)),
    "frequency_penalty": lambda value: min(2.0, max(-2.0, value)),
}
"""What the engine gets. Ollama takes any number, the engine refuses some: those become the nearest it takes."""
OF_ROUTE = frozenset((*_SENT, "num_predict", "seed", "stop"))
"""The options a route can hold."""


def sent(name: str, value: float) -> float:
    """What the engine gets for the option `name`."""
    return _SENT[name](value)


def of_route(defaults: Defaults) -> dict[str, object]:
    """A route's defaults as options, under Ollama's names; only what is set."""
    options: dict[str, object] = {
        "temperature": defaults.temperature,
        "top_p": defaults.top_p,
        "top_k": defaults.top_k,
        "min_p": defaults.min_p,
        "repeat_penalty": defaults.repetition_penalty,
        "presence_penalty": defaults.presence_penalty,
        "frequency_penalty": defaults.frequency_penalty,
        "num_predict": defaults.max_tokens,
        "seed": defaults.seed,
        "stop": defaults.stop,
    }
    return {name: value for name, value in options.items() if value is not None}


def checked(options: Mapping[str, object] | None) -> dict[str, object]:
    """The options that are set and mean something here. Refusal 400 where one is of the wrong type."""
    found = {}
    for name, value in (options or {}).items():
        check = _CHECKS.get(name)
        if check is None:
            _ignored(name)
        elif value is not None:
            found[name] = check(name, value)
    return found


def _ignored(name: str) -> None:
    if name not in _REMOVED and name not in _told and len(_told) < _MOST_TOLD:
        _told.add(name)
        log.info("unknown option ignored", option=name[:64])


def sampling(
    options: Mapping[str, object] | None, context_length: int | None, defaults: Defaults = NOTHING
) -> Sampling:
    """The sampling of a request. `context_length` (tokens) caps `num_predict`: the engine refuses more than that.

    `defaults`: the route's. What the request sets wins over them, "no limit" and "no stop" too.
    """
    of_model = of_route(defaults)
    given = of_model | checked(options)
    parameters = dict(DEFAULTS)
    for name, value in given.items():
        if name in _SENT and isinstance(value, (int, float)):
            parameters[_RENAMED.get(name, name)] = _SENT[name](value)
    seed, stop, limit = given.get("seed"), given.get("stop"), given.get("num_predict")
    if isinstance(seed, int) and seed >= 0:
        parameters["seed"] = seed
    if stop or "stop" in of_model:
        parameters["stop"] = stop
    if not isinstance(limit, int) or limit < 0:
        if "num_predict" in of_model:
            parameters["max_tokens"] = context_length or LONGEST
        return Sampling(parameters)
    parameters["max_tokens"] = max(1, min(limit, context_length or limit))
    return Sampling(parameters, prompt_only=limit == 0)
