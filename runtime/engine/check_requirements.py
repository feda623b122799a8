"""What an engine image lacks, asked while it is built. Runs with the image's own Python.

    check_requirements.py missing REQUIREMENTS     prints the pins that are not installed, for an installer to read
    check_requirements.py check REQUIREMENTS PYPROJECT      fails, saying what is missing

Own code is copied into the engine's image, not installed, so no installer has looked at what it needs; and
`pip check` would complain of what the CPU image leaves out on purpose.
"""

import importlib
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ENGINE = ("torch", "transformers", "vllm")


def lacking(wanted: list[str]) -> list[str]:
    """Those requirements (PEP 508) that this Python does not satisfy."""
    from packaging.requirements import Requirement  # every engine's image has it: transformers needs it

    found = []
    for requirement in map(Requirement, wanted):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            found.append(str(requirement))
    return found


def pins(requirements: Path) -> list[str]:
    """The requirements of a requirements file, without comments and options."""
    return [line.strip() for line in requirements.read_text().splitlines() if line[:1].isalnum()]


def dependencies(pyproject: Path) -> list[str]:
    """What a project depends on, less our own packages, which are copied beside it."""
    found = tomllib.loads(pyproject.read_text())["project"]["dependencies"]
    return [text for text in found if not text.startswith("dormouse-")]


def main(arguments: list[str]) -> int:
    """Runs one command and returns the exit status."""
    command, requirements = arguments[0], Path(arguments[1])
    missing = lacking(pins(requirements))
    if command == "missing":
        sys.stdout.write("".join(f"{pin}\n" for pin in missing))
        return 0
    missing += lacking(dependencies(Path(arguments[2])))
    for need in missing:
        sys.stderr.write(f"the engine image lacks {need}: add it to {requirements.name} or use another BASE\n")
    if not missing:
        for name in ENGINE:  # the system's libraries are known to be there only once these are loaded
            importlib.import_module(name)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
