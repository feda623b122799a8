"""The custom engine's process: import the class, load, serve, unload.

`python -m dormouse_runtime.engines.custom MODEL_DIR`, with the supervisor's DORMOUSE_RUNTIME.
"""

from __future__ import annotations

import logging
import sys
import traceback

import uvicorn

from dormouse_api.runtime import Stage
from dormouse_runtime import settings
from dormouse_runtime.engines.base import announce
from dormouse_runtime.engines.custom.app import Offered, create_app
from dormouse_runtime.engines.custom.loading import CustomModelError, find, loaded
from dormouse_runtime.engines.custom_args import FAILED
from dormouse_runtime.engines.worker import Worker


def main() -> int:
    """Serve until SIGTERM."""
    announce(Stage.IMPORTING)
    setup = settings.from_environment()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    config, folder = setup.config, sys.argv[1]
    if config.custom is None:
        print(f"{FAILED}: the profile names no entry point")  # noqa: T201 - the supervisor reads it
        return 1
    entry, worker = config.custom, Worker(config.max_num_seqs)
    try:
        model = worker.at_once(lambda: find(entry.path))
        announce(Stage.LOADING)
        served = worker.at_once(lambda: loaded(entry.path, model, folder, entry.config))
    except CustomModelError as error:
        traceback.print_exc()
        print(f"{FAILED}: {error}", flush=True)  # noqa: T201 - the supervisor reads the last line
        return 1
    announce(Stage.WARMING)
    app = create_app(Offered(config.model, served, worker))
    uvicorn.run(app, host=setup.host, port=config.serving_port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
