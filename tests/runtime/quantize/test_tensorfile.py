"""Safetensors as a stream, against the format's own rules."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dormouse_runtime.quantize.layout import Tensor
from dormouse_runtime.quantize.tensorfile import HeaderError, TensorFile, blocks, read_header

TENSORS = [Tensor("b", "I8", (3, 5)), Tensor("a", "F32", (2,)), Tensor("empty", "F32", (0, 4))]


def write(path: Path) -> TensorFile:
    with TensorFile(path, TENSORS) as file:
        file.write(b"x" * 10)
        file.write(b"x" * 5)
        file.write(b"y" * 8)
    return file


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    file = write(path)
    tensors, places = read_header(path)
    assert sorted(tensors, key=lambda tensor: tensor.name) == sorted(TENSORS, key=lambda tensor: tensor.name)
    assert b"".join(blocks(path, *places["a"])) == b"y" * 8
    assert b"".join(blocks(path, *places["b"])) == b"x" * 15
    data = path.read_bytes()
    assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert path.stat().st_mode & 0o777 == 0o644
    assert int.from_bytes(data[:8], "little") % 8 == 0  # the data is aligned


def test_a_file_that_is_not_as_planned_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="were planned"), TensorFile(tmp_path / "a", TENSORS) as file:
        file.write(b"too little")


HEADER = json.dumps({"a": {"dtype": "I8", "shape": [100], "data_offsets": [0, 100]}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        (2**62).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"oops",
        b"version https://git-lfs",
        len(HEADER).to_bytes(8, "little") + HEADER + b"short",
    ],
)
def test_what_is_no_safetensors_file_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(HeaderError, match="a is"):
        read_header(tmp_path / "a")
