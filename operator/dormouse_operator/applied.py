"""The body of a server-side apply, as bytes. The API server reads it as YAML, which is JSON only nearly. Pure."""

import json
from typing import Any

_ESCAPED = [*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF]
"""Characters that YAML reads as line breaks, or refuses, where they stand for themselves."""
_TABLE = {code: f"\\u{code:04x}" for code in _ESCAPED} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
"""A lone surrogate is no text; whoever wrote it gets what every decoder makes of it."""


def encoded(body: dict[str, Any]) -> bytes:
    """`body` as JSON that a YAML reader takes for the same. JSON's escapes beyond U+FFFF are pairs, which YAML has not:
    an emoji in a chat template would be refused, so such characters stand for themselves.
    """
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).translate(_TABLE).encode()
