"""Puts the diffusers engine together: the pipeline, its thread, and the HTTP server."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import uvicorn
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from dormouse_api.runtime import Stage
from dormouse_runtime.engines.base import announce
from dormouse_runtime.engines.diffusers.pipeline import PipelinePainter, Wanted, load
from dormouse_runtime.engines.drawing import Wish
from dormouse_runtime.engines.openai.images import Gallery, create_app
from dormouse_runtime.engines.worker import Worker
from dormouse_runtime.settings import Settings

log = logging.getLogger(__name__)

WARM_STEPS = 2


def main(setup: Settings, folder: str) -> int:
    """Load, then serve until SIGTERM."""
    announce(Stage.LOADING)
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    config = setup.config
    painter = load(Wanted(Path(folder), config.dtype, config.device, config.remote_code))
    announce(Stage.WARMING)
    if config.device != "cpu":  # a processor has nothing to compile, and may take a minute for a picture
        _warm(painter)
    gallery = Gallery(config.model, painter, Worker(config.max_num_seqs))
    uvicorn.run(create_app(gallery), host=setup.host, port=config.serving_port, log_level="warning", access_log=False)
    return 0


def _warm(painter: PipelinePainter) -> None:
    """Kernels are chosen with the first picture, and what does not fit is known before anybody calls."""
    began = time.monotonic()
    painter.draw(Wish("", painter.canvas.width, painter.canvas.height, 0, steps=WARM_STEPS), lambda: False)
    log.info("the first picture took %.1f s", time.monotonic() - began)
