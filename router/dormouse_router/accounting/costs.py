"""What tokens and devices cost, where the platform's owner has set prices. Pure; any one currency."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from dormouse_api.lease import parse_time

if TYPE_CHECKING:  # the batch worker reads prices with its settings, and has no models
    from dormouse_api.status import Usage

Price = Annotated[float, Meta(ge=0)]
HOUR = 3600
FIX = 'set it to {"devices": {"nvidia.com/gpu": 2.5}, "models": {"team/qwen": {"prompt": 0.1, "completion": 0.4}}}'


class Tokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a million tokens."""

    prompt: Price = 0.0
    completion: Price = 0.0


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    devices: dict[str, Price] = {}
    models: dict[str, Tokens] = {}


@dataclass(frozen=True, slots=True)
class Prices:
    """As the chart has them."""

    devices: Mapping[str, float] = field(default_factory=dict)
    """Of an hour of one, by its resource; `pod` where a model has none."""
    models: Mapping[str, Tokens] = field(default_factory=dict)
    """By `<namespace>/<name>`."""


def parsed(text: str, name: str) -> Prices:
    """The prices of a variable called `name`. ValueError with the fix."""
    if not text:
        return Prices()
    try:
        told = msgspec.json.decode(text.encode(), type=_Told)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"{name} holds no prices ({error}): {FIX}") from None
    return Prices(told.devices, told.models)


def of_tokens(prices: Prices, model: str, prompt: int, completion: int) -> float | None:
    """What they are charged at; None where the model has no price."""
    price = prices.models.get(model)
    if price is None:
        return None
    return round((prompt * price.prompt + completion * price.completion) / 1e6, 6)


def of_devices(prices: Prices, model: str, known: "Usage", now: float) -> dict[str, object]:
    """What a model has held, used and left to others since it was made. `busy_seconds` and `waited_seconds` are those
    that the operator has written down, an hour old at most while the model is called; the others are as of `now`."""
    elapsed = max(0, int(now) - int(parse_time(known.at)))
    awake = known.awake_seconds + elapsed * known.held
    saved = known.saved_seconds + elapsed * known.spared
    price = prices.devices.get(known.resource)
    return {
        "object": "usage.devices",
        "model": model,
        "resource": known.resource,
        "awake_seconds": awake,
        "busy_seconds": known.busy_seconds,
        "saved_seconds": saved,
        "waited_seconds": known.waited_seconds,
        "cost": None if price is None else round(awake / HOUR * price, 6),
        "saved": None if price is None else round(saved / HOUR * price, 6),
    }
