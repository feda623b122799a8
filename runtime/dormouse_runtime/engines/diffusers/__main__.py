"""The diffusers engine's process: load, draw once where that pays, serve.

`python -m dormouse_runtime.engines.diffusers MODEL_DIR`, with the supervisor's DORMOUSE_RUNTIME.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from pathlib import Path

from dormouse_api.runtime import Stage
from dormouse_runtime import settings
from dormouse_runtime.engines.base import announce
from dormouse_runtime.engines.diffusers_args import INDEX
from dormouse_runtime.pull.pipelines import files, own_code


def main() -> int:
    """Serve until SIGTERM."""
    announce(Stage.IMPORTING)
    setup = settings.from_environment()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    refuse_code(Path(sys.argv[1]), setup.config.remote_code)
    gc.disable()  # what imports make stays: collecting among it only costs time
    from dormouse_runtime.engines.diffusers import serve

    gc.freeze()
    gc.enable()
    return serve.main(setup, sys.argv[1])


def refuse_code(folder: Path, allowed: bool) -> None:
    """ValueError where the pipeline would run Python of its repository and may not: before anything is imported."""
    code = own_code(json.loads((folder / INDEX).read_text()), files(folder))
    if code and not allowed:
        raise ValueError(f"{code} contains custom code, which is not run without trust_remote_code")


if __name__ == "__main__":
    sys.exit(main())
