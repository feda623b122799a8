"""The names that inspection knows are those of the pinned engines."""

from __future__ import annotations

import json

import pytest

from dev import native

pytestmark = pytest.mark.engine


def test_the_list_is_that_of_the_installed_engines() -> None:
    """Run `python -m dev.native` after an upgrade of the engine's pins."""
    written, made = json.loads(native.OUT.read_text()), json.loads(native.text())
    assert written.keys() == made.keys()
    for key, names in made.items():
        assert set(written[key]) == set(names), f"{key} differ: run python -m dev.native"
        assert len(names) > 90
