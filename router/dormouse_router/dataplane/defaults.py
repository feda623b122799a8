"""A route's defaults in the request an engine gets: only where the client left them out. Pure.

The request's own values are never read, but copied as they are written. A route with a template takes no conversation
here: Ollama's dialect has made a prompt of it before, and an engine would make another by the model's own template.
"""

from typing import Any

import msgspec
from msgspec import Raw

from dormouse_api.route import Defaults
from dormouse_router.gateway import CHAT, COMPLETIONS, TOKENIZE
from dormouse_router.request import Refusal

_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
_SYSTEM = ("system", "developer")
_TEMPLATED = (
    "This name has a prompt template of its own (spec.defaults.template of its InferenceRoute), by which prompts are "
    "written for /api/chat and /api/generate alone: call it there, send a finished prompt to /v1/completions, or call "
    "the model itself."
)
_encode = msgspec.json.encode
_fields = msgspec.json.Decoder(dict[str, Raw])
_turns = msgspec.json.Decoder(list[Raw])


class _Turn(msgspec.Struct):
    role: str = ""


_turn = msgspec.json.Decoder(_Turn)


def merged(body: bytes, path: str, model: str, defaults: Defaults) -> bytes:
    """`body`, a JSON object for the engine's `path`, with `model` and all it leaves out; null is as good as nothing.

    Refusal 400 for a conversation where the defaults have a template.
    """
    fields = {name: value for name, value in _fields.decode(body).items() if bytes(value) != b"null"}
    fields["model"] = Raw(_encode(model))
    if path in (CHAT, COMPLETIONS):
        for name in _SAMPLING:
            value = getattr(defaults, name)
            if value is not None and name not in fields:
                fields[name] = Raw(_encode(value))
        if defaults.max_tokens is not None and not fields.keys() & {"max_tokens", "max_completion_tokens"}:
            fields["max_tokens"] = Raw(_encode(defaults.max_tokens))
    if path in (CHAT, TOKENIZE) and "messages" in fields:
        if defaults.template is not None:
            raise Refusal(400, _TEMPLATED, code="unsupported_value", param="model")
        fields["messages"] = _conversation(fields["messages"], defaults)
    return _encode(fields)


def _conversation(messages: Raw, defaults: Defaults) -> Raw:
    """The conversation after a system prompt, its own or the default one, and the turns it always begins with."""
    if defaults.system is None and not defaults.messages:
        return messages
    turns = _turns.decode(messages)
    own = 0
    while own < len(turns) and _turn.decode(turns[own]).role in _SYSTEM:
        own += 1
    system: list[Any] = [{"role": "system", "content": defaults.system}] if defaults.system and not own else []
    canned = [{"role": turn.role.value, "content": turn.content} for turn in defaults.messages or ()]
    return Raw(_encode([*system, *turns[:own], *canned, *turns[own:]]))
