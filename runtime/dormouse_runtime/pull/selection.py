"""Which files of a repository are pulled: safetensors and what belongs to them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.trust import checked

WEIGHTS = ".safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
KEPT_SUFFIXES = (WEIGHTS, ".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".vocab", ".py", ".yaml")
KEPT_NAMES = ("LICENSE", "NOTICE", "merges", "vocab")
FOREIGN_FOLDERS = ("onnx", "openvino", "coreml", "original", "metal", "gguf", "flax", ".cache", ".github")
VARIANTS = (".fp16.", ".bf16.", ".non_ema.")


@dataclass(frozen=True)
class RemoteFile:
    """A file as its source lists it. A hub knows one of the first two hashes, an object store perhaps the md5."""

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None
    md5: str | None = None
    version: str = ""
    """What a source without hashes calls this content: another one when it changes."""

    @property
    def identity(self) -> str:
        """A name of the content: of two files with the same one, one's bytes may go on where the other's stopped."""
        return self.sha256 or self.git_sha1 or hashlib.sha256(f"{self.size} {self.version}".encode()).hexdigest()


def select(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """The files to pull, by path; raises Unsupported when it holds no safetensors, or names that do harm."""
    kept = [file for file in files if _wanted(PurePosixPath(file.path))]
    checked(kept)
    weights = [file for file in kept if file.path.endswith(WEIGHTS)]
    if not weights:
        raise PullError(Reason.UNSUPPORTED, _no_weights([file.path for file in files]))
    doubles = _doubles([file.path for file in weights])
    return sorted((file for file in kept if file.path not in doubles), key=lambda file: file.path)


def _wanted(path: PurePosixPath) -> bool:
    if path.is_absolute() or ".." in path.parts or path.name.startswith(".") or not path.parts:
        return False
    if path.parts[0] in FOREIGN_FOLDERS:
        return False
    return path.suffix in KEPT_SUFFIXES or path.stem in KEPT_NAMES


def _doubles(weights: list[str]) -> set[str]:
    """Weights that are there a second time in another form."""
    there = set(weights)
    found = {path for path in there if any(v in path and path.replace(v, ".") in there for v in VARIANTS)}
    if any(PurePosixPath(path).name.startswith("model") for path in there if "/" not in path):
        found |= {path for path in there if path.startswith("consolidated")}
    return found


def _no_weights(paths: list[str]) -> str:
    suffixes = {PurePosixPath(path).suffix for path in paths}
    if ".gguf" in suffixes:
        return "the repository holds only GGUF weights: choose one with safetensors, usually the original model"
    if pickles := sorted(suffixes & set(PICKLES)):
        return (
            f"the repository holds only pickled weights ({', '.join(pickles)}), which can run code when loaded: "
            "choose a revision or repository with safetensors"
        )
    return "the repository holds no weights (*.safetensors): check the name and the revision"
