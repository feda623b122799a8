"""Reads the texts that a copy is calibrated by: a JSON object a line. Knows no tokenizer and no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dormouse_api.calibration import CalibrationConfig
from dormouse_runtime.quantize.layout import LayoutError

FEWEST = 8
"""Texts below which a calibration says nothing."""
LONGEST_LINE = 2**20


def read(calibration: CalibrationConfig) -> list[dict[str, Any]]:
    """The first `samples` objects of the file, each with a `text` or `messages`. LayoutError says what is wrong."""
    path = Path(calibration.file)
    try:
        with path.open(encoding="utf-8") as file:
            found = list(_objects(file, path.name, calibration.samples))
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"the texts to calibrate by cannot be read: {error}") from error
    if len(found) < FEWEST:
        raise LayoutError(f"{path.name} holds {len(found)} texts: at least {FEWEST} are needed to calibrate")
    return found


def _objects(lines: Iterator[str], name: str, most: int) -> Iterator[dict[str, Any]]:
    count = 0
    for number, line in enumerate(lines, 1):
        if count == most:
            return
        if line.strip():
            count += 1
            yield _object(line, f"{name}, line {number},")


def _object(line: str, where: str) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise LayoutError(f"{where} is longer than {LONGEST_LINE} characters: write one text a line")
    try:
        found = json.loads(line)
    except ValueError as error:
        raise LayoutError(f"{where} is no JSON ({error}): write one object a line") from error
    known = isinstance(found, dict) and (isinstance(found.get("text"), str) or isinstance(found.get("messages"), list))
    if not known:
        raise LayoutError(f'{where} has no "text" and no "messages": write {{"text": "..."}} or {{"messages": [...]}}')
    return dict(found)
