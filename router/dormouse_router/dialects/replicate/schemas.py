"""Whether an input is what a model with Python of its own takes. Its engine asks again; this wakes nothing in vain.

A schema is the administrator's, but may be slow for some inputs: who checks does so beside the event loop.
"""

import functools
import itertools
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from referencing import Registry

from dormouse_router.dialects.replicate.errors import invalid

MOST_LOOKED_AT = 100
MOST_WORDS = 600


def check(schema: str, given: dict[str, Any]) -> None:
    """Refusal 422 with the place that is to blame, where `given` does not fit."""
    errors = itertools.islice(_validator(schema).iter_errors(given), MOST_LOOKED_AT)
    found = min(errors, key=lambda error: len(error.absolute_path), default=None)
    if found is not None:
        field = ".".join(["input", *map(str, found.absolute_path)])
        raise invalid(field, f"{field}: {found.message[:MOST_WORDS]}")


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Draft202012Validator:
    # an empty registry: a $ref that leads elsewhere is an error, never a request
    return Draft202012Validator(msgspec.json.decode(schema), registry=Registry())
