"""Ollama's own programs for the tests of this folder: what they need of the machine, and how their words are read."""

import re
import shutil

import pytest


def need_go() -> None:
    """Skip where they cannot be built."""
    if shutil.which("go") is None or shutil.which("cc") is None:
        pytest.skip("Ollama's own programs are built with go and cc: install both")


def plain(said: bytes) -> str:
    """Text without what moves a terminal's cursor."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", said.decode(errors="replace"))
