"""Fields that hold the words of others, made plain. Pure."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from dormouse_api.masking import without_secrets
from dormouse_api.plain import plain as plain


def plain_to(limit: int) -> BeforeValidator:
    """For fields that hold the words of others: they are cut, not refused."""
    return BeforeValidator(lambda value: plain(value, limit) if isinstance(value, str) else value)


def told(text: str, limit: int) -> str:
    """`text` as `plain` has it, without what looks like a credential: of a sentence that anybody may read."""
    # first the secrets: a cut could take away by what one is known
    return plain(without_secrets(text[: 4 * limit]), limit)


def told_to(limit: int) -> BeforeValidator:
    """For fields with sentences of others."""
    return BeforeValidator(lambda value: told(value, limit) if isinstance(value, str) else value)


Name = Annotated[str, plain_to(128), Field(max_length=128)]
"""A short word of others, made plain and cut."""
Sentence = Annotated[str, told_to(2000), Field(max_length=2000)]
"""A message of others, made plain and cut, without what looks like a credential."""
