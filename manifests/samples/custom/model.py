"""Prices of houses, by a linear model: three numbers in a safetensors file. The contract is in docs/custom.md."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dormouse_runtime.custom import InputError

MOST_ROOMS_PER_AREA = 0.2


class Model:
    """One price for each house, as soon as it is known."""

    input_schema: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "houses": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1000,
                "items": {
                    "type": "object",
                    "properties": {
                        "area": {"type": "number", "exclusiveMinimum": 0, "description": "Square metres."},
                        "rooms": {"type": "integer", "minimum": 1},
                    },
                    "required": ["area", "rooms"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["houses"],
        "additionalProperties": False,
    }
    output_schema: Mapping[str, Any] = {
        "type": "object",
        "properties": {"price": {"type": "number"}, "currency": {"type": "string"}},
    }

    def load(self, folder: str, config: Mapping[str, str]) -> None:
        """`folder` holds the files of the model's source, `config` is spec.custom.config of the profile."""
        self.currency = config["currency"]
        file = Path(folder, "model.safetensors").read_bytes()
        (head,) = struct.unpack("<Q", file[:8])
        begin, end = json.loads(file[8 : 8 + head])["weights"]["data_offsets"]
        self.base, self.per_metre, self.per_room = struct.unpack("<3f", file[8 + head + begin : 8 + head + end])

    def predict(self, input: dict[str, Any]) -> Iterator[dict[str, Any]]:  # noqa: A002 - the word of the contract
        """Called with inputs of the schema only."""
        for house in input["houses"]:
            if house["rooms"] > house["area"] * MOST_ROOMS_PER_AREA:
                raise InputError(f"{house['rooms']} rooms do not fit {house['area']} square metres")
            price = self.base + self.per_metre * house["area"] + self.per_room * house["rooms"]
            yield {"price": price, "currency": self.currency}

    def unload(self) -> None:
        """Nothing to give back."""
