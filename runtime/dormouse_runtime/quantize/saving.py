"""Saves a model by transformers' own writer, whose library says what the system refused in words only."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

SHARD = "2GB"


def save(model: Any, target: Path, **options: Any) -> None:
    """Write weights, config.json and the index into `target`. OSError where the volume refuses a write."""
    try:
        model.save_pretrained(target, max_shard_size=SHARD, **options)
    except SafetensorError as error:
        told = re.search(r"\(os error (\d+)\)", str(error))
        if told is None:
            raise
        raise OSError(int(told[1]), os.strerror(int(told[1]))) from error
