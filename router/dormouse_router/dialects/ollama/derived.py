"""Names that clients derive from models, as Ollama does with create and copy: InferenceRoutes over one model. Pure.

Owns what a create request becomes, under which object name, and how a route looks in Ollama's lists and details.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from dormouse_api.names import MAX_ROUTE_NAME, digest
from dormouse_api.route import Defaults, InferenceRouteSpec, Role, Variant
from dormouse_router.catalog.record import NOTHING, Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.ollama import describe, names, options
from dormouse_router.dialects.ollama.durations import timestamp
from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.prompting import prompter
from dormouse_router.dialects.ollama.requests import CreateRequest, Message
from dormouse_router.request import Refusal

_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_SLUG = 50
_FIELDS = {"num_predict": "max_tokens", "repeat_penalty": "repetition_penalty"}
"""Ollama's names of those defaults that are called otherwise here."""
_AT_LEAST = {"num_predict": 1, "seed": 0}
REFUSED = {
    "files": "models are not created from files: publish the weights on the hub and pull them, then create FROM them",
    "adapters": "adapters are not taken: publish the merged weights on the hub and pull them",
    "quantize": "quantize is not taken by create: pull the model in that form, as in `ollama pull org/name:q4_K_M`",
}


def object_name(name: names.Name) -> tuple[str, list[str] | None]:
    """The object's metadata.name, and the aliases it needs to be called `name`: none where the two are the same.

    Derived from the name alone, so two routers asked the same thing make the same object.
    """
    text = name.path if name.tag == names.DEFAULT_TAG else name.listed
    lowered = text.lower()
    if len(text) > MAX_ROUTE_NAME or name.host:
        raise bad_request("invalid model name")
    if _OBJECT.fullmatch(lowered):
        return lowered, [text] if text != lowered else None
    slug = re.sub(r"[^a-z0-9]+", "-", lowered).strip("-")[:_LONGEST_SLUG].rstrip("-")
    return f"{slug or 'm'}-{digest(lowered)}", [text]


def copy_of(source: Record | Route) -> InferenceRouteSpec:
    """A route that means what `source` means, without its other names."""
    if isinstance(source, Record):
        return InferenceRouteSpec(variants=[Variant(model=source.name)])
    return source.spec.model_copy(update={"aliases": None})


def created(wish: CreateRequest, source: Record | Route, template: str) -> InferenceRouteSpec:
    """`source` with what `wish` sets over it. `template`: what the model shows as its own, which takes a derived one
    back. Refusal 400 with the fix.
    """
    for field, words in REFUSED.items():
        if getattr(wish, field):
            raise bad_request(words)
    spec = copy_of(source)
    changes = parameters_from(wish.parameters)
    if wish.template == template:
        changes["template"] = None
    elif wish.template:
        prompter(wish.template)  # refuses, in words, what is no template
        changes["template"] = wish.template
    if wish.system:
        changes["system"] = wish.system
    if wish.messages:
        changes["messages"] = [_canned(message) for message in wish.messages]
    licence = _licence(wish.license) or spec.license
    try:
        merged = Defaults.model_validate({**dict(spec.defaults or NOTHING), **changes})
        held = {"defaults": merged if merged != NOTHING else None, "license": licence}
        return InferenceRouteSpec.model_validate({**dict(spec), **held})
    except ValidationError as error:
        first = error.errors()[0]
        raise bad_request(f"invalid {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _licence(wish: str | list[str] | None) -> str | None:
    """Several texts are one, as they stand in a Modelfile one after another."""
    texts = [wish] if isinstance(wish, str) else wish or []
    return "\n\n".join(text for text in texts if text) or None


def parameters_from(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parameters of a create request as fields of Defaults; None takes one back. Refusal 400 on a wrong type."""
    fields: dict[str, Any] = {}
    for name, value in options.checked(given).items():
        if name in options.OF_ROUTE:
            fields[_FIELDS.get(name, name)] = _default(name, value)
    return fields


def _default(name: str, value: Any) -> Any:
    if name in _AT_LEAST:  # below it: no limit, or another seed every time, as without one
        return value if value >= _AT_LEAST[name] else None
    if name == "stop":
        return value or None
    return options.sent(name, value)


def _canned(message: Message) -> dict[str, str]:
    if message.images or message.tool_calls or not isinstance(message.content, str):
        raise bad_request("messages of a created model hold text only: leave out images and tool calls")
    role = message.role.lower()
    if role not in set(Role):
        raise bad_request(f'invalid role "{message.role}": must be one of system, user or assistant')
    return {"role": role, "content": message.content}


def layers(wish: CreateRequest, parent: Record) -> list[dict[str, str]]:
    """What create says while it works."""
    made = [_licence(wish.license), wish.template, wish.system, wish.parameters, wish.messages]
    shown = (hashlib.sha256(msgspec.json.encode(part)).hexdigest() for part in made if part)
    return [
        {"status": f"using existing layer sha256:{describe.digest(parent)}"},
        *({"status": f"creating new layer sha256:{layer}"} for layer in shown),
        {"status": "writing manifest"},
        {"status": "success"},
    ]


# ------------------------------------------------------------------ lists and details


def names_listed(route: Route) -> list[str]:
    return [name for name in route.served if name != route.full_name]


def listing(route: Route, parent: Record, name: str) -> dict[str, Any]:
    """One entry of /api/tags: a route under one of its names."""
    return (
        describe.listing(parent, name)
        | own(route, parent)
        | own_capabilities(route, parent)
        | {"modified_at": timestamp(route.created)}
    )


def show(route: Route, parent: Record, name: str, user_agent: str) -> dict[str, Any]:
    """The answer of /api/show; `name` as the client wrote it."""
    defaults = route.defaults
    told = describe.show(parent, name, user_agent) | {
        "modelfile": _modelfile(route, parent),
        "parameters": describe.parameters(parent, options.of_route(defaults)),
        "details": own(route, parent)["details"],
        "modified_at": timestamp(route.created),
    }
    if route.spec.license:
        told["license"] = route.spec.license
    told |= own_capabilities(route, parent)
    if defaults.template:
        told["template"] = defaults.template
    if defaults.system:
        told["system"] = defaults.system
    if defaults.messages:
        told["messages"] = [{"role": turn.role.value, "content": turn.content} for turn in defaults.messages]
    return told


def own_capabilities(route: Route, parent: Record) -> dict[str, Any]:
    """`capabilities` of lists and details, where a template of its own changes them; a broken one changes nothing."""
    template = route.defaults.template
    if template is None:
        return {}
    try:
        return {"capabilities": prompter(template).capabilities(describe.capabilities(parent))}
    except Refusal:
        return {}


def own(route: Route, parent: Record) -> dict[str, Any]:
    """What tells the route from its model in an entry of a list."""
    spec = msgspec.json.encode(route.spec.wire())
    return {
        "digest": hashlib.sha256(describe.digest(parent).encode() + spec).hexdigest(),
        "details": describe.details(parent) | {"parent_model": names.listed(parent.name)},
    }


def _modelfile(route: Route, parent: Record) -> str:
    defaults = route.defaults
    shares = ", ".join(f"{variant.model} {variant.weight}" for variant in route.spec.variants)
    lines = [f"# {route.full_name}, a route over {shares}", f"FROM {names.listed(parent.name)}"]
    if defaults.template:
        lines.append(f'TEMPLATE """{defaults.template}"""')
    if defaults.system:
        lines.append(f'SYSTEM """{defaults.system}"""')
    for name, value in options.of_route(defaults).items():
        lines += [f"PARAMETER {name} {describe.parameter(each)}" for each in describe.each(value)]
    if route.spec.license:
        lines.append(f'LICENSE """{route.spec.license}"""')
    lines += [f'MESSAGE {turn.role.value} """{turn.content}"""' for turn in defaults.messages or ()]
    return "\n".join([*lines, ""])
