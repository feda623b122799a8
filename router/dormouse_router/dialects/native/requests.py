"""The body of POST /pull: checked whole, so that what is wrong is said before anything is created. Pure."""

import re
from typing import Any

import msgspec

from dormouse_api.model import SecretRef
from dormouse_api.names import MAX_MODEL_NAME
from dormouse_router.dialects.creation import Wanted, wanted
from dormouse_router.request import Refusal

_NAME = re.compile(rf"[a-z]([-a-z0-9]{{0,{MAX_MODEL_NAME - 2}}}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SECRETS = ("token", "hf_token", "api_key", "password")


class TokenSecret(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    key: str = "token"


class PullRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`model` and `source` are two words for one thing: org/name of the hub, or a URI."""

    model: str | None = None
    source: str | None = None
    revision: str | None = None
    quantization: str | bool | None = None
    token_secret: TokenSecret | str | None = None
    name: str | None = None
    """metadata.name of the InferenceModel; derived from the source where it is left out."""


def bad_request(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, message, param=param)


def decode(body: bytes) -> PullRequest:
    """The request in `body`, whatever its Content-Type. Refusal 400 with the fix."""
    if not body.strip():
        raise bad_request('the body is empty: send JSON such as {"model": "org/name"}')
    try:
        _refuse_secrets(msgspec.json.decode(body))
        return msgspec.json.decode(body, type=PullRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fields = ", ".join(PullRequest.__struct_fields__)
        raise bad_request(f"invalid request: {error}; the fields are {fields}") from error


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
    source = request.source or request.model
    if not source:
        raise bad_request('say what to pull: {"model": "org/name"}, or "source" with a URI', "model")
    if request.source and request.model and request.source != request.model:
        raise bad_request('"model" and "source" say different things: send one of them', "source")
    if request.name is not None and not _NAME.fullmatch(request.name):
        raise bad_request(
            f'name "{request.name}" must be at most {MAX_MODEL_NAME} characters of a-z, 0-9 and -, first a letter',
            "name",
        )
    quantize = "no" if request.quantization is False else request.quantization
    if quantize is True:
        raise bad_request("quantization must say which: int4, int8, fp8, nf4, none, ...", "quantization")
    try:
        model = wanted(
            source.removeprefix("https://huggingface.co/"),
            revision=request.revision or None,
            quantize=quantize,
            token=_secret(request.token_secret),
            alias=_alias(source),
        )
    except ValueError as error:
        raise bad_request(str(error)) from error
    return Wanted(request.name, model.spec) if request.name else model


def _alias(source: str) -> str | None:
    """A model of the hub is also served under its own name there."""
    path = source.removeprefix("https://huggingface.co/").removeprefix("hf://")
    return path if "://" not in path else None


def _secret(given: TokenSecret | str | None) -> SecretRef | None:
    if given is None:
        return None
    secret = TokenSecret(given) if isinstance(given, str) else given
    if not _OBJECT.fullmatch(secret.name) or not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", secret.key):
        raise bad_request("token_secret must name a Secret of the model's namespace, and its key", "token_secret")
    return SecretRef(name=secret.name, key=secret.key)
