"""From a prediction's input to what an engine is asked: text, pictures, or a model with Python of its own. Pure.

Names are those that Replicate's models have for the same thing; what means nothing to the model is left out, and told.
"""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dormouse_router.catalog.record import Record
from dormouse_router.dialects import chunks
from dormouse_router.dialects.replicate.errors import invalid
from dormouse_router.gateway import CHAT, COMPLETIONS

PREDICT, DRAW = "/predict", "/v1/images/generations"
Kind = Literal["text", "image", "custom"]
_CAPABILITIES: tuple[tuple[str, Kind], ...] = (("predict", "custom"), ("completion", "text"), ("image", "image"))
_TEMPLATE = "{prompt}"
Given = dict[str, Any]


class TextInput(Struct, kw_only=True):
    """What a language model takes."""

    prompt: str | None = None
    system_prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    """A whole conversation, as OpenAI has it; `prompt` is then its last turn, if there is one."""
    image: str | list[str] | None = None
    """URLs, data URLs among them, for models that see."""
    prompt_template: str | None = None
    """The finished prompt, with `{prompt}` in it: the model's own chat template is then not asked."""
    max_tokens: int | None = None
    max_new_tokens: int | None = None
    max_completion_tokens: int | None = None
    min_tokens: int | None = None
    min_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_sequences: str | list[str] | None = None
    """A text has them with commas in between."""


class ImageInput(Struct, kw_only=True):
    """What a pipeline that draws takes."""

    prompt: str
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    size: str | None = None
    num_outputs: int | None = None
    n: int | None = None
    num_inference_steps: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One call of an engine."""

    kind: Kind
    path: str
    payload: bytes
    stream: bool
    ignored: tuple[str, ...] = ()
    """Names in the input that mean nothing to the model."""


def kind_of(record: Record, name: str) -> Kind | None:
    """What the model makes; None while nobody knows. Refusal 422 where it is nothing that a prediction gives."""
    known = record.status.capabilities
    if not known:
        return None
    for capability, kind in _CAPABILITIES:
        if capability in known:
            return kind
    text = f"'{name}' takes no predictions: it can {', '.join(known)}, which /v1 has routes for."
    raise invalid("model", text)


def plan(record: Record, kind: Kind, given: Given) -> Plan:
    """What is asked for `given`. Refusal 422 with the field that is to blame."""
    if kind == "custom":
        payload = msgspec.json.encode({"model": record.called, "input": given, "stream": True})
        return Plan("custom", PREDICT, payload, stream=True)
    return _text(record, given) if kind == "text" else _image(record, given)


def _converted(given: Given, kind: type[Struct]) -> tuple[Any, tuple[str, ...]]:
    try:
        made = msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        field = f"input{path.rstrip('`')}"
        if "missing required field" in words:
            field, words = f"input.{words.split('`')[-2]}", "it is required"
        raise invalid(field, f"{field}: {words}") from error
    return made, tuple(sorted(given.keys() - set(kind.__struct_fields__)))


def _text(record: Record, given: Given) -> Plan:
    wish, ignored = _converted(given, TextInput)
    body: Given = {"model": record.called, "stream": True, "stream_options": chunks.USAGE}
    body |= _sampling(wish)
    if wish.prompt_template is not None:
        prompt = _prompt(wish)
        if _TEMPLATE not in wish.prompt_template:
            raise invalid("input.prompt_template", "input.prompt_template: it must hold {prompt}")
        body["prompt"] = wish.prompt_template.replace(_TEMPLATE, prompt).replace(
            "{system_prompt}", wish.system_prompt or ""
        )
        return Plan("text", COMPLETIONS, msgspec.json.encode(body), True, ignored)
    body["messages"] = _messages(wish)
    return Plan("text", CHAT, msgspec.json.encode(body), True, ignored)


def _sampling(wish: TextInput) -> Given:
    most = wish.max_tokens or wish.max_completion_tokens or wish.max_new_tokens
    stops = _stops(wish.stop) or _stops(wish.stop_sequences)
    found = {
        "max_tokens": most,
        "min_tokens": wish.min_tokens or wish.min_new_tokens,
        "temperature": wish.temperature,
        "top_p": wish.top_p,
        # Replicate's models have 0 or less for no bound
        "top_k": wish.top_k if wish.top_k is None or wish.top_k > 0 else -1,
        "min_p": wish.min_p,
        "presence_penalty": wish.presence_penalty,
        "frequency_penalty": wish.frequency_penalty,
        "repetition_penalty": wish.repetition_penalty,
        "seed": wish.seed,
        "stop": stops or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _stops(given: str | list[str] | None) -> list[str]:
    if isinstance(given, str):
        return [word for word in given.split(",") if word]
    return given or []


def _messages(wish: TextInput) -> list[Given]:
    made: list[Given] = [{"role": "system", "content": wish.system_prompt}] if wish.system_prompt else []
    made += wish.messages or []
    if wish.prompt or not wish.messages:
        images = [wish.image] if isinstance(wish.image, str) else wish.image or []
        text = _prompt(wish)
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in images]
        made.append({"role": "user", "content": [*parts, {"type": "text", "text": text}] if parts else text})
    return made


def _prompt(wish: TextInput) -> str:
    if not wish.prompt:
        raise invalid("input.prompt", "input.prompt: it is required, as a text")
    return wish.prompt


def _image(record: Record, given: Given) -> Plan:
    wish, ignored = _converted(given, ImageInput)
    if (wish.width is None) != (wish.height is None):
        lacking = "width" if wish.width is None else "height"
        raise invalid(f"input.{lacking}", f"input.{lacking}: give both sides, or none")
    size = wish.size if wish.width is None else f"{wish.width}x{wish.height}"
    found = {
        "model": record.called,
        "prompt": wish.prompt,
        "response_format": "b64_json",
        "negative_prompt": wish.negative_prompt,
        "size": size,
        "n": wish.num_outputs or wish.n,
        "num_inference_steps": wish.num_inference_steps or wish.steps,
        "guidance_scale": wish.guidance_scale,
        "seed": wish.seed,
    }
    body = {name: value for name, value in found.items() if value is not None}
    return Plan("image", DRAW, msgspec.json.encode(body), False, ignored)
