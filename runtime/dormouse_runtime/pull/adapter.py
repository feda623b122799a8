"""The pull of a LoRA adapter: looked at first, so that nothing of one that cannot be served is fetched.

It lies in a folder of its commit below the adapters' folder, with a marker, as a model does below the models folder.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

from dormouse_api.adapters import ADAPTER_CONFIG, ADAPTERS_DIR
from dormouse_api.results import AdapterResult
from dormouse_runtime.pull import lora
from dormouse_runtime.pull.fetch import fetch, patience
from dormouse_runtime.pull.patience import patiently
from dormouse_runtime.pull.progress import Meter
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.pull.source import Source, read
from dormouse_runtime.pull.sources import open_source

READ_SECONDS = 10.0


def adapter(settings: Settings, meter: Meter) -> AdapterResult:
    """Pull what the revision stands for now. Raises PullError."""
    source = open_source(settings, min(READ_SECONDS, settings.stall_seconds))
    with contextlib.closing(source):
        commit = patiently(lambda: source.resolve(settings.commit or settings.revision), patience(settings))
        found = lora.shape(_config(source, commit, settings))
    folder = settings.models / ADAPTERS_DIR
    folder.mkdir(parents=True, exist_ok=True)
    pulled = fetch(replace(settings, commit=commit, models=folder), meter, lora.select_adapter)
    return AdapterResult(pull=pulled, rank=found.rank, base=found.base, targets=found.targets)


def _config(source: Source, commit: str, settings: Settings) -> dict[str, Any]:
    listed = patiently(lambda: source.files(commit), patience(settings))
    paper = next(file for file in lora.select_adapter(listed) if file.path == ADAPTER_CONFIG)
    text = patiently(lambda: read(source, commit, paper), patience(settings))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
