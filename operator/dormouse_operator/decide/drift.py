"""Whether an object already is what we want, so that an unchanged model costs no write. Pure.

Two tests together: the hash of the intent, kept on it, notices a field that we stopped wanting; comparing
the intent with the object notices what somebody else changed.
"""

import json
from collections.abc import Mapping
from typing import Any

from dormouse_api.names import digest
from dormouse_operator.decide.quantities import amount
from dormouse_operator.observed import INTENT

Object = dict[str, Any]


def stamped(intent: Object) -> Object:
    """The intent with its own hash."""
    text = json.dumps(intent, sort_keys=True, separators=(",", ":"))
    meta, field = intent["metadata"], "labels" if intent["kind"] == "Deployment" else "annotations"
    return intent | {"metadata": meta | {field: (meta.get(field) or {}) | {INTENT: digest(text, length=16)}}}


def unchanged(intent: Object, present: Mapping[str, Any] | None) -> bool:
    """Whether applying the stamped `intent` over `present` would change nothing."""
    if present is None or "deletionTimestamp" in present["metadata"]:
        return False
    # objects of a LIST carry neither apiVersion nor kind
    return contained({k: v for k, v in intent.items() if k not in ("apiVersion", "kind")}, present)


def contained(want: object, have: object) -> bool:
    """Whether all of `want` is in `have`, with quantities compared by value: the API server writes 1000m as 1."""
    if have is None:
        return want in ({}, [], None)  # an empty object sent is an absent one read
    if isinstance(want, Mapping):
        return isinstance(have, Mapping) and all(contained(value, have.get(key)) for key, value in want.items())
    if isinstance(want, (list, tuple)):
        return isinstance(have, list) and len(want) == len(have) and all(map(contained, want, have))
    if want == have:
        return True
    if not isinstance(want, str) or not isinstance(have, str):
        return False
    value = amount(want)
    return value is not None and value == amount(have)
