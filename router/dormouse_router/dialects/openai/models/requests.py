"""What POST and PATCH of /v1/models take, and the spec of an InferenceModel that it means. Pure.

A field that nobody knows is refused, not ignored: a misspelt `visibility` would show everybody what was to be private.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from pydantic import ValidationError

from dormouse_api.access import Visibility
from dormouse_api.model import InferenceModelSpec
from dormouse_api.names import digest
from dormouse_router.caller import Caller
from dormouse_router.dialects.creation import NAME, object_name, quantization, source_uri
from dormouse_router.request import Refusal

Text = Annotated[str, Meta(max_length=2048)]
Name = Annotated[str, Meta(max_length=300)]
FIELDS: dict[str, tuple[str, ...]] = {
    "revision": ("source", "revision"),
    "source": ("source", "uri"),
    "token_secret": ("source", "tokenSecretRef"),
    "quantization": ("quantization",),
    "profile": ("profile",),
    "hardware": ("profile",),
    "context_length": ("engine", "maxModelLen"),
    "task": ("engine", "task"),
    "idle_seconds": ("scaling", "idleSeconds"),
    "preload": ("scaling", "preload"),
    "aliases": ("aliases",),
    "visibility": ("access", "visibility"),
    "team": ("access", "team"),
    "description": ("description",),
}
"""Where in the spec a field goes."""
_MORE = {"spec.source.credentialsSecretRef": "token_secret", "spec.access": "visibility", "metadata.name": "id"}
_UNCHANGING = ("id", "name", "owner", "source", "token_secret")


class TokenSecret(msgspec.Struct, forbid_unknown_fields=True):
    """A key of a Secret in the models' namespace: a hub's token, or credentials of an s3:// source."""

    name: Name
    key: Name = "token"


class ChangeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What PATCH takes: null is the default again."""

    revision: Name | None = None
    """Branch, tag or commit: another one is another version."""
    quantization: Name | None = None
    profile: Name | None = None
    """The RuntimeProfile it runs on; `hardware` is Replicate's word for it."""
    hardware: Name | None = None
    context_length: Annotated[int, Meta(ge=16, le=16_777_216)] | None = None
    task: Literal["auto", "generate", "embed"] | None = None
    idle_seconds: Annotated[int, Meta(ge=1, le=2_592_000)] | None = None
    preload: bool | None = None
    aliases: Annotated[list[Name], Meta(max_length=16)] | None = None
    visibility: Literal["public", "team", "private"] | None = None
    team: Name | None = None
    description: Text | None = None
    dry_run: bool | None = None
    """Only say whether it could be done."""


class CreateRequest(ChangeRequest, forbid_unknown_fields=True):
    """What POST takes: at least `id` or `source`."""

    id: Name | None = None
    """The name to call it by; Replicate's clients send `owner` and `name` instead."""
    name: Name | None = None
    owner: Name | None = None
    source: Name | None = None
    """org/name of the hub, hf://, s3:// or pvc://; without it `id` is org/name."""
    token_secret: TokenSecret | Name | None = None
    github_url: Text | None = None
    """This and the next three are what Replicate's clients may send; nothing keeps them."""
    paper_url: Text | None = None
    license_url: Text | None = None
    cover_image_url: Text | None = None


Asked = TypeVar("Asked", ChangeRequest, CreateRequest)


@dataclass(frozen=True)
class Registration:
    """A model to create."""

    name: str
    """metadata.name."""
    called: str | None
    """What the client wants to call it, if it said so."""
    spec: InferenceModelSpec


def decode(body: bytes, kind: type[Asked]) -> Asked:
    """The request in `body`. Refusal 400 with the fix."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$.")
        raise _invalid(
            f"{words}; {_takes(kind, body)}", place.rstrip("`").partition("[")[0] or _unknown(words)
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}.") from None


def registration(asked: CreateRequest, caller: Caller) -> Registration:
    """The model that is asked for. Refusal 400 with the fix."""
    called = _called(asked)
    if not (asked.source or called):
        text = (
            'Say which model: "id" with org/name of the hub, or "source" (hf://, s3://, pvc://) and an "id" to call it.'
        )
        raise Refusal(400, text, code="missing_required_parameter", param="source")
    _check(asked, caller)
    if asked.visibility == "team" and not asked.team:
        raise _invalid('visibility "team" needs "team": name the team', "team")
    uri = _uri(asked.source or called or "", "source" if asked.source else "id")
    spec = _without_none(_nested(asked, set(type(asked).__struct_fields__)))
    spec["source"] = {**spec.get("source", {}), "uri": uri, **_secret(asked.token_secret, uri)}
    if called is not None and NAME.fullmatch(called):
        return Registration(called, called, _spec(spec))
    # two private models of the same weights must not be in each other's way
    apart = digest(caller.owner, length=6) if asked.visibility in ("private", "team") else ""
    variant = "-".join(filter(None, (asked.revision, spec.get("quantization", ""), apart)))
    if called is not None:
        spec["aliases"] = list(dict.fromkeys([called, *spec.get("aliases", ())]))
    return Registration(object_name(uri, variant), called, _spec(spec))


def changes(asked: ChangeRequest, body: bytes, caller: Caller) -> dict[str, Any]:
    """What to merge into the spec: the fields that `body` has. Refusal 400 with the fix."""
    sent: dict[str, object] = msgspec.json.decode(body)
    _check(asked, caller)
    spec = _nested(asked, set(sent))
    if not spec:
        raise _invalid(f"say what to change; {_takes(ChangeRequest, b'')}", None)
    return spec


def merged(spec: InferenceModelSpec, patch: dict[str, Any]) -> InferenceModelSpec:
    """What becomes of a spec (RFC 7386). Refusal 400 where that is none."""
    return _spec(_merged(spec.wire(), patch))


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        kept[key] = _merged(kept.get(key), value)
    return {key: value for key, value in kept.items() if value is not None}


def field_of(path: str | None) -> str | None:
    """The field of a request that a path of the object comes from, such as spec.source.revision."""
    known = {".".join(("spec", *where)): field for field, where in FIELDS.items() if field != "hardware"} | _MORE
    fitting = [begin for begin in known if path is not None and (f"{path}.".startswith((f"{begin}.", f"{begin}[")))]
    return known[max(fitting, key=len)] if fitting else None


# ------------------------------------------------------------------------------------------------- inside


def _called(asked: CreateRequest) -> str | None:
    name = f"{asked.owner}/{asked.name}" if asked.owner and asked.name else asked.name
    if asked.id and name and asked.id != name:
        raise _invalid('"id" and "name" say different things: send one of them', "name")
    return asked.id or name or None


def _check(asked: ChangeRequest, caller: Caller) -> None:
    if asked.visibility in ("private", "team") and not caller.owner:
        text = f'a {asked.visibility} model needs an owner: send an API key (Authorization: Bearer ...), or "public"'
        raise _invalid(text, "visibility")
    if asked.profile and asked.hardware and asked.profile != asked.hardware:
        raise _invalid('"profile" and "hardware" say different things: send one of them', "hardware")


def _uri(text: str, field: str) -> str:
    try:
        return source_uri(text)
    except ValueError as error:
        raise _invalid(str(error), field) from None


def _secret(given: TokenSecret | str | None, uri: str) -> dict[str, Any]:
    """The Secret where the source's kind has it."""
    if not given:
        return {}
    secret = TokenSecret(given) if isinstance(given, str) else given
    if uri.startswith("hf://"):
        return {"tokenSecretRef": {"name": secret.name, "key": secret.key}}
    if uri.startswith("s3://"):
        return {"credentialsSecretRef": {"name": secret.name}}
    raise _invalid("token_secret is for hf:// and s3:// sources: leave it out, a claim needs none", "token_secret")


def _nested(asked: ChangeRequest, sent: set[str]) -> dict[str, Any]:
    """The fields of `sent`, each where it goes in the spec; None takes it away."""
    spec: dict[str, Any] = {}
    for field, where in FIELDS.items():
        if field not in sent or field in _UNCHANGING or (field == "hardware" and asked.hardware is None):
            continue
        inner = spec
        for part in where[:-1]:
            inner = inner.setdefault(part, {})
        inner[where[-1]] = _value(asked, field)
    return spec


def _value(asked: ChangeRequest, field: str) -> object:
    value: object = getattr(asked, field)
    if field == "quantization" and isinstance(value, str):
        try:
            return quantization(value).value
        except ValueError as error:
            raise _invalid(str(error), field) from None
    return Visibility(value.capitalize()).value if field == "visibility" and isinstance(value, str) else value


def _without_none(spec: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: _without_none(value) if isinstance(value, dict) else value for key, value in spec.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}


def _spec(spec: dict[str, Any]) -> InferenceModelSpec:
    try:
        return InferenceModelSpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in ("spec", *first["loc"]))
        raise _invalid(f"{path}: {first['msg']}", field_of(path)) from None


def _takes(kind: type[ChangeRequest], body: bytes) -> str:
    if kind is ChangeRequest and any(f'"{field}"'.encode() in body for field in _UNCHANGING):
        return "name and source stay: register another model for other weights"
    return f"the fields are {', '.join(kind.__struct_fields__)}"


def _unknown(words: str) -> str | None:
    found = words.partition("unknown field `")[2]
    return found.partition("`")[0] or None


def _invalid(words: str, field: str | None) -> Refusal:
    return Refusal(400, f"Invalid request: {words}.", code="invalid_value", param=field)
