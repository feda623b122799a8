"""Gives an image's engine the bytecode that it lacks, and fails where that did not do: `python3 bytecode.py [check]`.

Without it every process of every start compiles thousands of modules anew, on a file system that it cannot write to: a
start takes twice as long. Installers such as uv make none unless they are asked. Standard library only.
"""

import compileall
import sys
from importlib import util
from pathlib import Path

PACKAGES = ("vllm", "torch", "transformers", "pydantic")
SHARE = 0.01
"""Templates and tests for other versions of Python cannot be compiled."""


def folder(package: str) -> Path:
    """Where `package` lies; it is not imported."""
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not in this image")
    return Path(spec.origin).parent


def main() -> int:
    """What is compiled already stays as it is. `check`: nothing is compiled."""
    if sys.argv[1:] != ["check"]:
        # all that lies beside vLLM; what fails is no Python of this version, and is counted below
        compileall.compile_dir(folder("vllm").parent, quiet=2, workers=0)
    every = [path for package in PACKAGES for path in folder(package).rglob("*.py")]
    missing = [path for path in every if not Path(util.cache_from_source(str(path))).exists()]
    print(f"{len(every) - len(missing)} of {len(every)} modules have bytecode")  # noqa: T201 - the build's log
    for path in missing[:20] if len(missing) > SHARE * len(every) else ():
        print(f"missing: {path}")  # noqa: T201
    return int(len(missing) > SHARE * len(every))


if __name__ == "__main__":
    sys.exit(main())
