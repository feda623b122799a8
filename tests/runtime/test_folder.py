"""Damaged folders are found before an engine is started."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dormouse_runtime.supervisor import folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A whole folder of two files and an index."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}\n")
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for name in names:
        write(tmp_path / name)
    index = {"weight_map": {f"w{number}": name for number, name in enumerate(names)}}
    (tmp_path / folder.INDEX).write_text(json.dumps(index))
    return tmp_path


def write(path: Path, data: int = 16, told: int = 16) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [told // 4], "data_offsets": [0, told]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(data))


def test_a_whole_folder_is_not_complained_of(weights: Path) -> None:
    assert folder.damage(weights, ["config.json"]) is None


def damages(weights: Path) -> dict[str, str]:
    """What was done to copies of the folder, and what is said of each."""
    last = weights / "model-00002-of-00002.safetensors"
    said = {}
    done: dict[str, Callable[[], object]] = {
        "gone": lambda: last.unlink(),
        "cut": lambda: write(last, data=9),
        "empty": lambda: last.write_bytes(b""),
        "noise": lambda: last.write_bytes(b"\xff" * 999),
        "head": lambda: last.write_bytes((9).to_bytes(8, "little") + b"[1, 2, 3]"),
        "index": lambda: (weights / folder.INDEX).write_text("{"),
        "pickle": lambda: (weights / folder.INDEX).write_text('{"weight_map": {"w": "model.bin"}}'),
        "away": lambda: (weights / folder.INDEX).write_text('{"weight_map": {"w": "../x.safetensors"}}'),
        "tokenizer": lambda: (weights / "tokenizer.json").write_text('{"model": {"vocab'),
        "config": lambda: (weights / "config.json").unlink(),
    }
    for name, do in done.items():
        kept = {path: path.read_bytes() for path in weights.iterdir()}
        do()
        said[name] = folder.damage(weights, ["config.json"]) or ""
        for path, content in kept.items():
            path.write_bytes(content)
    return said


def test_what_is_wrong_is_named(weights: Path) -> None:
    said = damages(weights)
    words = {
        "gone": "model-00002-of-00002.safetensors is missing, which model.safetensors.index.json names",
        "cut": "model-00002-of-00002.safetensors is cut off",
        "empty": "only its beginning",
        "noise": "is no safetensors file",
        "head": "the head of model-00002-of-00002.safetensors cannot be read",
        "index": "model.safetensors.index.json is empty or cut off",
        "pickle": "names model.bin, which is no safetensors file",
        "away": "names ../x.safetensors, which is no safetensors file of this folder",
        "tokenizer": "tokenizer.json is empty or cut off",
        "config": "config.json is not there",
    }
    assert {name: words[name] in said[name] for name in words} == dict.fromkeys(words, True), said


def test_pickles_are_no_weights(weights: Path) -> None:
    (weights / "pytorch_model.bin").write_bytes(b"x")
    assert folder.damage(weights, ["config.json"]) is None
    for path in weights.glob("model*"):
        path.unlink()
    assert "pytorch_model.bin is a pickle" in (folder.damage(weights, ["config.json"]) or "")


def test_a_pipe_is_left_to_the_engine(weights: Path) -> None:
    """Opening it would hang the supervisor as it hangs an engine."""
    last = weights / "model-00002-of-00002.safetensors"
    last.unlink()
    os.mkfifo(last)
    assert folder.damage(weights, ["config.json"]) is None
