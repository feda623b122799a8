"""A hub, a volume and the puller's own entry point, in this process or as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.hub.client import HubControl
from dormouse_api.names import MARKER
from dormouse_api.results import Marker, Outcome
from dormouse_runtime.pull.__main__ import main

REPO = "acme/tiny"
TOKEN = "hf_the-secret-that-nobody-may-see"
WEIGHTS = "model.safetensors"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "max_position_embeddings": 2048,
    "hidden_size": 64,
}


def safetensors(tensors: Mapping[str, tuple[str, list[int]]], pad: int = 0) -> bytes:
    """A safetensors file of zeros (name -> dtype and shape), then `pad` bytes that differ from place to place."""
    widths, offset, head = {"BF16": 2, "F32": 4, "I32": 4, "U8": 1}, 0, {}
    for name, (dtype, shape) in tensors.items():
        length = widths[dtype]
        for side in shape:
            length *= side
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + length]}
        offset += length
    text = json.dumps(head).encode()
    body = bytes(offset) + b"".join(struct.pack("<I", i) for i in range(pad // 4))
    return struct.pack("<Q", len(text)) + text + body


SMALL = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer.json": b"{}",
    WEIGHTS: safetensors({"a.weight": ("BF16", [64, 32]), "b.weight": ("BF16", [64])}),
    "pytorch_model.bin": b"pickled",
    "README.md": b"# tiny",
}
PULLED = ("config.json", WEIGHTS, "tokenizer.json")
LARGE = {**SMALL, WEIGHTS: safetensors({"a.weight": ("BF16", [64])}, pad=8 << 20)}


@dataclass(frozen=True)
class Ended:
    """What one run left: exit code, outcome, everything it printed."""

    code: int
    outcome: Outcome
    printed: str

    @property
    def reason(self) -> str | None:
        return self.outcome.failure.reason if self.outcome.failure else None


@dataclass
class Puller:
    """One model's volume, and ways to run the puller on it."""

    hub: HubControl
    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.models = self.home / "models"
        self.models.mkdir(exist_ok=True)
        self.message = self.home / "termination-log"
        self.environ = {
            "DORMOUSE_SOURCE": f"hf://{REPO}",
            "HF_ENDPOINT": self.hub.url,
            "DORMOUSE_MODELS_DIR": str(self.models),
            "DORMOUSE_TERMINATION_LOG": str(self.message),
            "DORMOUSE_PROGRESS_PORT": "0",
            "DORMOUSE_STALL_SECONDS": "30",
            "DORMOUSE_BACKOFF_SECONDS": "0.01",
        }

    def token(self, token: str) -> None:
        """Mount a token, as the operator does."""
        file = self.home / "token"
        file.write_text(token + "\n")
        self.environ["DORMOUSE_TOKEN_FILE"] = str(file)

    def run(self, stage: str, **environ: str) -> Ended:
        """The stage in this process."""
        code = main([stage], {**self.environ, **environ})
        return Ended(code, self.outcome(), "")

    def start(self, stage: str, **environ: str) -> subprocess.Popen[str]:
        """The stage as a process of its own."""
        command = [sys.executable, "-m", "dormouse_runtime.pull", stage]
        full = {**os.environ, **self.environ, **environ}
        return subprocess.Popen(command, env=full, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for it to end."""
        printed, _ = process.communicate(timeout=120)
        return Ended(process.returncode, self.outcome(), printed)

    def outcome(self) -> Outcome:
        text = self.message.read_text()
        assert len(text.encode()) <= 4000
        return Outcome.model_validate_json(text)

    def files(self, commit: str) -> dict[str, bytes]:
        """What lies in the folder of the commit."""
        folder = self.models / commit
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def marker(self, commit: str) -> Marker:
        return Marker.model_validate_json((self.models / commit / MARKER).read_text())

    def part(self) -> int:
        """Bytes of all unfinished files on the volume."""
        found = 0
        for path in self.models.rglob("*.part"):
            with contextlib.suppress(FileNotFoundError):  # it has become whole meanwhile
                found += path.stat().st_size
        return found

    def weights_requests(self) -> list[dict[str, Any]]:
        """The GETs for the weights that were answered with bytes."""
        return [e for e in self.hub.log() if e["method"] == "GET" and "/_cdn/" in e["path"] and WEIGHTS in e["path"]]


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until it holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


def commit(ended: Ended) -> str:
    result = ended.outcome.inspect or ended.outcome.pull
    assert result is not None, ended.outcome
    return result.commit


def said(ended: Ended) -> str:
    assert ended.outcome.failure is not None, ended.outcome
    return ended.outcome.failure.message
