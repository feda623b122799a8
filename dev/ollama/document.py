"""Ollama's own OpenAPI document, out of its Go module: fetched once per machine, checked, never copied here.

Needs no Go: a module is a zip file at a proxy of modules (`GOPROXY`), and `go.sum` beside this file says what it holds.
"""

from __future__ import annotations

import base64
import hashlib
import os
import urllib.request
import zipfile
from pathlib import Path

from dev import cache
from dev.ollama import OllamaError, version

_MODULE = "github.com/ollama/ollama"
_INSIDE = "docs/openapi.yaml"
_SUMS = Path(__file__).resolve().parent / "go.sum"
_PROXY = "https://proxy.golang.org"
_SECONDS = 120.0


def document() -> Path:
    """The file. OllamaError where the module is not what `go.sum` says; URLError where no proxy can be reached."""
    wanted = f"v{version()}"
    folder = cache.publish("ollama", f"document-{wanted}", lambda out: _fetch(wanted, out), what="Ollama's document")
    return folder / Path(_INSIDE).name


def _fetch(wanted: str, out: Path) -> None:
    module = out / "module.zip"
    url = f"{_proxy()}/{_MODULE}/@v/{wanted}.zip"
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer, module.open("wb") as file:
        while piece := answer.read(1 << 20):
            file.write(piece)
    with zipfile.ZipFile(module) as archive:
        if f"{_MODULE} {wanted} {_sum(archive)}" not in _SUMS.read_text().splitlines():
            raise OllamaError(f"{url} is not what {_SUMS} says: another module came, or the version changed")
        (out / Path(_INSIDE).name).write_bytes(archive.read(f"{_MODULE}@{wanted}/{_INSIDE}"))
    module.unlink()


def _proxy() -> str:
    """The first proxy that can be asked over HTTP."""
    given = os.environ.get("GOPROXY", "").replace("|", ",").split(",")
    return next((word.rstrip("/") for word in given if word.startswith("http")), _PROXY)


def _sum(archive: zipfile.ZipFile) -> str:
    """Go's h1 of a module: the hash of the sorted list of its files' hashes."""
    lines = (f"{hashlib.sha256(archive.read(name)).hexdigest()}  {name}\n" for name in sorted(archive.namelist()))
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()
