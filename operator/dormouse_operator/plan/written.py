"""Whether what users wrote can be handed to the runtime at all. Pure."""

import json

from dormouse_operator.observed import Model, Profile

LONGEST = 120_000
"""Bytes. Linux takes 128 KiB as one variable of a process's environment; the rest of it is some hundred."""


def too_long(model: Model, profile: Profile) -> str | None:
    """A sentence with the fix where template and flags are more than fits into the runtime's environment."""
    engine, flags = model.spec.engine, (*(profile.spec.args or ()), *(model.spec.engine.args or ()))
    size = len(json.dumps([engine.chat_template, flags], ensure_ascii=False).encode())
    if size <= LONGEST:
        return None
    return (
        f"engine.chatTemplate and the flags of model and profile have {size:,} bytes as JSON, and a process can be "
        f"told {LONGEST:,}: shorten the template, or leave it out where the model has its own"
    )
