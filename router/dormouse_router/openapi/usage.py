"""What callers used: its route, and the object it gives."""

from dormouse_router.dialects.openai import usage
from dormouse_router.openapi import headers
from dormouse_router.openapi.openai import FAMILY
from dormouse_router.openapi.parts import (
    BOOLEAN,
    COUNT,
    JSON,
    STRING,
    Answer,
    Operation,
    Schema,
    arr,
    const,
    obj,
    query_parameter,
    ref,
    said,
)

_DAY: Schema = {"type": "string", "pattern": f"^{usage.DAY}$"}
_SECONDS: Schema = {"type": "number", "minimum": 0}
_PRICED: Schema = {
    "type": ["number", "null"],
    "minimum": 0,
    "description": "In the currency of the prices; null where none is set.",
}
ANSWERS: dict[str, Schema] = {
    "OpenAIUsageTotal": obj(
        {
            "object": const("usage"),
            "day": said(_DAY, "In UTC."),
            "model": said(STRING, "`<namespace>/<name>`."),
            "owner": said(STRING, "Empty where it is not asked who calls."),
            "caller": said(STRING, "The key, user or account; empty likewise."),
            "requests": COUNT,
            "failed": said(COUNT, "Of them, those that ended with a 5xx."),
            "prompt_tokens": COUNT,
            "completion_tokens": COUNT,
            "cached_tokens": said(COUNT, "Of the prompts', those that engines had kept from other calls."),
            "seconds": _SECONDS,
            "held_seconds": said(_SECONDS, "Of `seconds`, waiting for the model to wake."),
            "cost": _PRICED,
        }
    ),
    "OpenAIUsageDevices": obj(
        {
            "object": const("usage.devices"),
            "model": said(STRING, "`<namespace>/<name>`."),
            "resource": said(STRING, "What is counted: the accelerator's resource name, or `pod`."),
            "awake_seconds": said(COUNT, "Devices times seconds that its pods have held."),
            "busy_seconds": said(COUNT, "Of them, those with a call in flight; an hour old at most."),
            "saved_seconds": said(COUNT, "Devices times seconds that its sleep has left to others."),
            "waited_seconds": said(COUNT, "That callers were held, all together."),
            "cost": _PRICED,
            "saved": _PRICED,
        }
    ),
    "OpenAIUsageTotals": obj(
        {
            "object": const("list"),
            "since": _DAY,
            "until": _DAY,
            "data": arr(ref("OpenAIUsageTotal")),
            "devices": said(
                arr(ref("OpenAIUsageDevices")), "Of each model since it was made; for operators, and in mode `open`."
            ),
            "has_more": BOOLEAN,
        }
    ),
}
_ASKED = (
    query_parameter("since", "The first day; 30 days ago where nothing is said.", _DAY),
    query_parameter("until", "The last day; today where nothing is said.", _DAY),
    query_parameter("model", "Only this model, by any of its names; a deleted one by `<namespace>/<name>`.", STRING),
    query_parameter("owner", "Only theirs; of others only operators are told.", STRING),
    query_parameter("limit", "Most rows.", {"type": "integer", "minimum": usage.FEWEST, "maximum": usage.MOST}),
)
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        FAMILY,
        "get",
        "/v1/usage",
        "Show what was used",
        {200: Answer("Totals by day, owner, caller and model.", {JSON: ref("OpenAIUsageTotals")})},
        (*headers.READ, 400, 503),
        "The latest day first. Totals are a second old, and kept for 400 days.",
        own=_ASKED,
    ),
)
