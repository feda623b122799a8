"""The transformers engine's process: load, choose how to batch, serve.

`python -m dormouse_runtime.engines.transformers MODEL_DIR QUANTIZATION`, with the supervisor's DORMOUSE_RUNTIME.
"""

from __future__ import annotations

import gc
import sys

from dormouse_api.runtime import Stage
from dormouse_runtime import settings
from dormouse_runtime.engines.base import announce


def main() -> int:
    """Serve until SIGTERM."""
    announce(Stage.IMPORTING)
    setup = settings.from_environment()
    folder, quantization = sys.argv[1:3]
    if setup.config.task not in ("generate", "embed") or (setup.config.task == "embed" and quantization != "none"):
        print(f"NotImplementedError: this engine has no implementation of the task {setup.config.task}")  # noqa: T201
        return 1
    gc.disable()  # what imports make stays: collecting among it only costs time
    from dormouse_runtime.engines.transformers import embed, serve

    gc.freeze()
    gc.enable()
    return embed.main(setup, folder) if setup.config.task == "embed" else serve.main(setup, folder, quantization)


if __name__ == "__main__":
    sys.exit(main())
