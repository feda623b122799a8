"""Fails an image build whose engine lacks a package: `python3 check_requirements.py PYPROJECT...`.

Own code is copied into the engine's image, not installed, so no installer has looked at what it needs. This does,
and imports the engine libraries once besides (`pip check` would complain of what the CPU image leaves out on purpose).
"""

import importlib.util
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ENGINE = ("accelerate", "bitsandbytes", "safetensors", "tokenizers", "torch", "transformers", "vllm")


def lacking(pyproject: Path) -> list[str]:
    """The dependencies of a project that this Python does not satisfy, each with what is there instead."""
    from packaging.requirements import Requirement

    found = []
    for text in tomllib.loads(pyproject.read_text())["project"]["dependencies"]:
        wanted = Requirement(text)
        if wanted.name == "dormouse-api" or (wanted.marker and not wanted.marker.evaluate()):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            found.append(f"{wanted} (nothing installed)")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            found.append(f"{wanted} ({version} installed)")
    return found


def main(pyprojects: list[str]) -> int:
    missing = [need for path in pyprojects for need in lacking(Path(path))]
    missing += [f"module {name}" for name in ENGINE if importlib.util.find_spec(name) is None]
    for need in missing:
        sys.stderr.write(f"the engine image lacks {need}: add it to runtime/engine/requirements-*.txt\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
