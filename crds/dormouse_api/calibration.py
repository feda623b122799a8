"""Texts by which a quantized copy is calibrated: what a user asks for, and how the Job is told.

Owns shapes and bounds. Knows nothing of how weights are quantized.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject, Message
from dormouse_api.bounds import ObjectName
from dormouse_api.schema import rules


class Algorithm(StrEnum):
    """How rounding is steered by what the model does on the texts."""

    GPTQ = "gptq"
    AWQ = "awq"


class ConfigMapTexts(ApiObject):
    """A key of a ConfigMap in the model's own namespace (a ConfigMap holds 1 MiB)."""

    name: ObjectName
    key: Annotated[str, Field(max_length=253, pattern=r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")] = "texts.jsonl"


class ClaimTexts(ApiObject):
    """A file on a PersistentVolumeClaim of the model's own namespace; it is mounted read-only."""

    name: ObjectName
    path: Annotated[
        str, Field(max_length=512, pattern=r"^[A-Za-z0-9_][-A-Za-z0-9._]*(/[A-Za-z0-9_][-A-Za-z0-9._]*){0,8}$")
    ]
    """Below the root of the volume, such as sets/support.jsonl."""


class Calibration(ApiObject):
    """Texts like those the model will meet, by which its copy loses less than by rounding alone.

    A JSON object a line: {"text": "..."}, or {"messages": [{"role": ..., "content": ...}, ...]} for the chat template.
    """

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "has(self.configMap) != has(self.claim)",
                "calibration needs its texts from one place: set calibration.configMap or calibration.claim",
            ),
        )
    }

    config_map: ConfigMapTexts | None = None
    claim: ClaimTexts | None = None
    algorithm: Algorithm = Algorithm.GPTQ
    samples: Annotated[int, Field(ge=8, le=2048)] = 256
    """Texts used, from the first on. Time grows with it, and with maxTokens."""
    max_tokens: Annotated[int, Field(ge=32, le=8192)] = 512
    """Tokens of each text; what is longer is cut."""


class CalibrationConfig(Message):
    """What the quantize Job is told of it."""

    file: str
    """Absolute path of the texts."""
    algorithm: Algorithm
    samples: int
    max_tokens: int
