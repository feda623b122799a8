"""Speculative decoding: something cheap guesses the next tokens, the model checks them all at once. The answers stay.

Owns what the spec says of it, what the status remembers, and what the runtime pod is told.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject, Commit, Message, Word
from dormouse_api.schema import rules
from dormouse_api.source import Place


class Method(StrEnum):
    NGRAM = "ngram"
    """The prompt itself: what followed the same words before. Needs nothing, and pays where answers repeat prompts."""
    DRAFT = "draft"
    """A small model with the same tokenizer."""


class Speculative(ApiObject):
    """How tokens are guessed. vLLM only; other engines serve without."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "self.method != 'draft' || has(self.source)",
                "speculative.method draft needs a small model: set speculative.source, or method ngram",
            ),
            (
                "self.method != 'ngram' || !has(self.source)",
                "speculative.method ngram takes no model: remove speculative.source, or set method draft",
            ),
            (
                "self.promptLookupMin <= self.promptLookupMax",
                "speculative.promptLookupMin must not exceed promptLookupMax: lower it",
            ),
        )
    }

    method: Method
    tokens: Annotated[int, Field(ge=1, le=32)] = 4
    """Guessed at once. More pays only where most guesses are right."""
    prompt_lookup_min: Annotated[int, Field(ge=1, le=64)] = 2
    """With ngram: fewest tokens that must match."""
    prompt_lookup_max: Annotated[int, Field(ge=1, le=64)] = 5
    """With ngram: most tokens that are compared."""
    source: Place | None = None
    """With draft: where the small model comes from."""


class DraftStatus(ApiObject):
    """The draft model."""

    key: Word
    """Hash of the source that was pulled; another one is pulled anew."""
    commit: Commit | None = None
    bytes: int | None = None
    message: Annotated[str, Field(max_length=2048)] | None = None
    """Why the model is served without it."""


class SpeculativeConfig(Message):
    """What the runtime pod is told."""

    method: Method
    tokens: int
    prompt_lookup_min: int
    prompt_lookup_max: int
    draft_dir: str | None = None
    """Absolute folder of the draft model."""
