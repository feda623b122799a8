"""Weights that no engine, or one engine less, can serve: made on the spot of the tiny trained model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

LENGTH = 8


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    return target


def config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def configured(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: config(folder, **fields)


def nothing(folder: Path) -> None:
    """What is wrong is in the settings."""


def last_shard_gone(folder: Path) -> None:
    max(folder.glob("*.safetensors")).unlink()


def noise(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xc3" * 100_000)


def half(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def tensor_gone(folder: Path) -> None:
    """A whole file, of one tensor less: its bytes stay, nothing names them."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:LENGTH], "little")
    header = json.loads(data[LENGTH : LENGTH + length])
    gone = max((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"][1])
    start, _ = header.pop(gone)["data_offsets"]
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(LENGTH, "little") + text + data[LENGTH + length : LENGTH + length + start])


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("token*"):
        path.unlink()


def torn_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text()[:500])


def foreign_tokenizer(folder: Path) -> None:
    """Of another model, with numbers for its words that this one has no rows for."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    special = {token["content"] for token in content["added_tokens"]}
    content["model"]["vocab"] = {word: n if word in special else n + 100_000 for word, n in vocabulary.items()}
    path.write_text(json.dumps(content))
