"""What a pull asks for, as an InferenceModel: its name, its source and its quantization. Pure.

The name is derived from the source alone, so two routers asked the same thing create the same object.
"""

import re
from dataclasses import dataclass

from dormouse_api.model import InferenceModelSpec, Quantization
from dormouse_api.names import MAX_MODEL_NAME, digest
from dormouse_api.source import SOURCE_PATTERN, CredentialsRef, SecretRef, Source

NAME = re.compile(rf"[a-z]([-a-z0-9]{{0,{MAX_MODEL_NAME - 2}}}[a-z0-9])?")
"""A metadata.name of a model."""
_SOURCE = re.compile(SOURCE_PATTERN)
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?(:[A-Za-z0-9_][A-Za-z0-9._-]*)?")
_WORDS = {
    "q4": Quantization.INT4,
    "4bit": Quantization.INT4,
    "q8": Quantization.INT8,
    "8bit": Quantization.INT8,
    "fp16": Quantization.NONE,
    "f16": Quantization.NONE,
    "bf16": Quantization.NONE,
    "no": Quantization.NONE,
    "false": Quantization.NONE,
    "": Quantization.AUTO,
}


@dataclass(frozen=True)
class Wanted:
    """A model to create."""

    name: str
    spec: InferenceModelSpec


def quantization(word: str) -> Quantization:
    """The quantization a client means by `word`. ValueError that lists the words."""
    lowered = word.strip().lower().replace("-", "_")
    for known in (_WORDS.get(lowered), *(q for q in Quantization if q.value.replace("-", "_") == lowered)):
        if known is not None:
            return known
    if found := re.fullmatch(r"i?q([48])_[a-z0-9_]+", lowered):  # q4_k_m and its kind
        return _WORDS[f"q{found[1]}"]
    words = ", ".join([*(q.value for q in Quantization), "q4", "q8", "fp16", "no"])
    raise ValueError(f'quantization "{word}" is not known: use one of {words}')


def source_uri(text: str) -> str:
    """The source that `text` names: a URI of the API, or `org/name` on the hub. ValueError with the forms."""
    if _REPOSITORY.fullmatch(text):
        text = f"hf://{text}"
    if not _SOURCE.fullmatch(text):
        raise ValueError(
            f'"{text}" names no model to pull: send org/name of the hub, hf://org/name, s3://bucket/path or '
            "pvc://claim/path"
        )
    return text


def object_name(uri: str, variant: str = "") -> str:
    """A metadata.name for the model of `uri`; `variant` tells two forms of the same weights apart."""
    path = uri.partition("://")[2]
    slug = re.sub(r"[^a-z0-9]+", "-", f"{path}-{variant}".lower()).strip("-")
    if not slug[:1].isalpha():
        slug = f"m-{slug}".rstrip("-")
    if len(slug) <= MAX_MODEL_NAME:
        return slug
    tail = digest(uri, variant)
    return f"{slug[: MAX_MODEL_NAME - len(tail) - 1].rstrip('-')}-{tail}"


def wanted(
    source: str,
    *,
    revision: str | None = None,
    quantize: str | None = None,
    token: SecretRef | None = None,
    alias: str | None = None,
) -> Wanted:
    """The model for a pull of `source`. `alias`: another name to serve it by. ValueError with the fix."""
    uri = source_uri(source)
    if revision and not _REVISION.fullmatch(revision):
        raise ValueError(f'revision "{revision}" is not a branch, tag or commit')
    kind = quantization(quantize) if quantize is not None else Quantization.AUTO
    variant = "-".join(filter(None, (revision, kind.value if kind is not Quantization.AUTO else "")))
    where = _source(uri, token).model_copy(update={"revision": revision} if revision else {})
    aliases = [alias] if alias and _ALIAS.fullmatch(alias) else None
    return Wanted(object_name(uri, variant), InferenceModelSpec(source=where, quantization=kind, aliases=aliases))


def _source(uri: str, secret: SecretRef | None) -> Source:
    """The source with the Secret where its kind has it. ValueError where it has none."""
    if secret is None:
        return Source(uri=uri)
    if uri.startswith("s3://"):
        return Source(uri=uri, credentials_secret_ref=CredentialsRef(name=secret.name))
    if uri.startswith("hf://"):
        return Source(uri=uri, token_secret_ref=secret)
    raise ValueError("token_secret is for hf:// and s3:// sources: leave it out, a claim needs none")
