"""The body of POST /pull: checked whole, so that what is wrong is said before anything is created. Pure."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from dormouse_api.model import Quantization
from dormouse_api.names import MAX_MODEL_NAME
from dormouse_api.source import SecretRef
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.creation import NAME, Wanted, wanted
from dormouse_router.dialects.native.answers import bad_request

_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SECRETS = ("token", "hf_token", "api_key", "password")
_PATH = re.compile(r"at `\$\.([a-z_]+)")
_HUB = re.compile(r"(https?://)?(www\.)?(huggingface\.co|hf\.co)/")
"""How people paste the address of a repository."""
_CARRIED = (Quantization.GPTQ, Quantization.AWQ)


class TokenSecret(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    key: str = "token"


class PullRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`model` and `source` are two words for one thing: org/name of the hub, or a URI. So are `quantize` and
    `quantization`."""

    model: str | None = None
    source: str | None = None
    revision: str | None = None
    quantize: str | bool | None = None
    quantization: str | bool | None = None
    init: bool | None = None
    """Start the model once its weights are here, before anybody calls."""
    token_secret: TokenSecret | str | None = None
    name: str | None = None
    """metadata.name of the InferenceModel; derived from the source where it is left out."""


def decode(body: bytes) -> PullRequest:
    """The request in `body`, whatever its Content-Type. Refusal 400 with the fix."""
    if not body.strip():
        raise bad_request('the body is empty: send JSON such as {"model": "org/name"}')
    try:
        _refuse_secrets(msgspec.json.decode(body))
        return msgspec.json.decode(body, type=PullRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fields = ", ".join(PullRequest.__struct_fields__)
        found = _PATH.search(str(error))
        raise bad_request(f"invalid request: {error}; the fields are {fields}", found[1] if found else None) from error


def _refuse_secrets(body: Any) -> None:
    """A token in the request would end up in logs and in the object; it belongs into a Secret."""
    found = next((field for field in _SECRETS if isinstance(body, dict) and field in body), None)
    if found is not None:
        raise bad_request(
            f'"{found}" is not taken in a request: put the token into a Secret and send token_secret with its name',
            found,
        )


def model_for(request: PullRequest) -> Wanted:
    """The InferenceModel that the request asks for. Refusal 400 with the fix."""
    source = _one(request.model, request.source, ("model", "source"))
    source = _HUB.sub("", source, count=1) if source and _HUB.match(source) else source
    if not source:
        raise bad_request('say what to pull: {"model": "org/name"}, or "source" with a URI', "model")
    if request.name is not None and not NAME.fullmatch(request.name):
        raise bad_request(
            f'name "{request.name}" must be at most {MAX_MODEL_NAME} characters of a-z, 0-9 and -, first a letter',
            "name",
        )
    quantize = _quantize(request)
    try:
        model = wanted(
            source,
            revision=request.revision or None,
            quantize=quantize,
            token=_secret(request.token_secret),
            alias=_alias(source),
        )
    except ValueError as error:
        field = next(
            (word for word in ("quantization", "revision", "token_secret") if str(error).startswith(word)), "model"
        )
        raise bad_request(str(error), field) from error
    spec = model.spec
    if request.init:
        spec = spec.model_copy(update={"scaling": spec.scaling.model_copy(update={"preload": True})})
    return Wanted(request.name or model.name, spec)


def refuse_impossible(wish: Wanted, known: Iterable[Record]) -> None:
    """Refusal 400 where another model of the same source has shown what these weights carry, and it does not go
    together with what is asked for. Of weights that nobody has inspected yet the job tells the same.
    """
    asked = wish.spec.quantization
    for record in known:
        inspected = record.status.inspected
        if record.spec.source != wish.spec.source or inspected is None or not record.pulled:
            continue
        native = inspected.native_quantization
        if asked in _CARRIED and native != asked.value:
            raise bad_request(
                f"quantize {asked.value} is for weights that are {asked.value.upper()} already; these carry "
                f"{native or 'no quantization'}: name the repository of the {asked.value.upper()} weights, or send "
                f"quantize {'auto' if native else 'int4'}",
                "quantize",
            )
        if native and asked not in (*_CARRIED, Quantization.AUTO, Quantization.NONE):
            raise bad_request(
                f"the weights are {native} already and cannot become {asked.value}: send quantize auto to serve them "
                "as they are, or name the repository of the full weights",
                "quantize",
            )


def _one(first: str | None, second: str | None, names: tuple[str, str]) -> str | None:
    """What two words for one thing say together."""
    if first and second and first != second:
        raise bad_request(f'"{names[0]}" and "{names[1]}" say different things: send one of them', names[1])
    return first or second


def _quantize(request: PullRequest) -> str | None:
    words = []
    for name in ("quantize", "quantization"):
        value: str | bool | None = getattr(request, name)
        if value is True:
            raise bad_request(f"{name} must say which: auto, int4, int8, fp8, nf4, no, ...", name)
        words.append("no" if value is False else value)
    return _one(words[0], words[1], ("quantize", "quantization"))


def _alias(source: str) -> str | None:
    """A model of the hub is also served under its own name there."""
    path = source.removeprefix("hf://")
    return path if "://" not in path else None


def _secret(given: TokenSecret | str | None) -> SecretRef | None:
    if given is None:
        return None
    secret = TokenSecret(given) if isinstance(given, str) else given
    if not _OBJECT.fullmatch(secret.name) or not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", secret.key):
        raise bad_request("token_secret must name a Secret of the model's namespace, and its key", "token_secret")
    return SecretRef(name=secret.name, key=secret.key)
