"""Ollama's own programs, built once from its Go module into the machine's cache: judges of the Ollama dialect.

`cli` is the command line program, `suite` the integration tests that Ollama runs against a server, `templates` a
program of ours around its templates. The rest is other people's code: downloaded and built where it is needed, never
copied here. Knows nothing of the router.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev import cache
from dev.cluster.binaries import require_go

_SOURCES = Path(__file__).resolve().parent
_INPUTS = tuple(_SOURCES / name for name in ("go.mod", "go.sum", "main.go"))
_TEMPLATES = _SOURCES / "templates" / "main.go"
_MODULE = "github.com/ollama/ollama"
_TAGS = ("-tags", "integration,release")


class OllamaError(Exception):
    """Ollama's programs cannot be built here; the message says what is missing."""


@dataclass(frozen=True)
class Suite:
    """`program` is a Go test binary to be run in `folder`, where its test data lies."""

    program: Path
    folder: Path


def version() -> str:
    """The release, without its v."""
    found = re.search(rf"^require {_MODULE} v(\S+)$", _INPUTS[0].read_text(), re.MULTILINE)
    if found is None:
        raise OllamaError(f"{_INPUTS[0]} requires no {_MODULE}: restore the file")
    return found[1]


def cli() -> Path:
    """The program `ollama`: only its client commands are of use. ClusterError without Go, OllamaError."""
    flags = ("-trimpath", "-ldflags", f"-s -w -X {_MODULE}/version.Version={version()}")

    def build(out: Path) -> None:
        _go("build", *flags, "-o", str(out / "ollama"), ".")

    return _built("cli", flags, build) / "ollama"


def suite() -> Suite:
    """The integration tests. ClusterError without Go, OllamaError."""
    built = _built("suite", _TAGS, _build_suite)
    return Suite(built / "suite", built)


def templates() -> Path:
    """The program that renders templates as Go and as Ollama do. ClusterError without Go, OllamaError."""
    flags = ("-trimpath",)

    def build(out: Path) -> None:
        _go("build", *flags, "-o", str(out / "templates"), f"./{_TEMPLATES.parent.name}")

    return _built("templates", flags, build, (*_INPUTS, _TEMPLATES)) / "templates"


def _build_suite(out: Path) -> None:
    package = f"{_MODULE}/integration"
    _go("test", "-c", *_TAGS, "-o", str(out / "suite"), package)
    data = out / "testdata"
    data.mkdir()
    for file in (Path(_go("list", *_TAGS, "-f", "{{.Dir}}", package).strip()) / "testdata").iterdir():
        if file.is_file():
            shutil.copyfile(file, data / file.name)


def _built(
    name: str, flags: tuple[str, ...], build: Callable[[Path], None], inputs: tuple[Path, ...] = _INPUTS
) -> Path:
    identity = f"{name}-{cache.key(name, *flags, *inputs)}"
    return cache.publish("ollama", identity, build, what=f"Ollama's {name}", expect="about 2 minutes, once per machine")


def _go(*command: str) -> str:
    """What `go` says. It runs in our module, with C: the client is one program with the server."""
    require_go()
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        raise OllamaError("Ollama's programs need a C compiler: install gcc")
    done = subprocess.run(
        ["go", *command],
        cwd=_SOURCES,
        env=os.environ | {"CGO_ENABLED": "1", "GOWORK": "off"},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise OllamaError(f"go {' '.join(command)} failed in {_SOURCES}:\n{done.stderr[-4000:]}")
    return done.stdout
