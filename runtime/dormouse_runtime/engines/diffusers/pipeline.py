"""Loads a diffusion pipeline from a folder, and draws with it. Knows nothing of HTTP or queues."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from dormouse_runtime.engines.drawing import Canvas, DrawingError, FlaggedError, LeftError, UnfitError, Wish
from dormouse_runtime.pull.pipelines import files, variant

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LEAST_MULTIPLE = 8
"""What pipelines check of both sides, even where their own latents are finer."""
OFTEN = 512
"""Pixels of a side where a pipeline does not say what it was made for."""


@dataclass(frozen=True)
class Wanted:
    """What to load, and how."""

    folder: Path
    dtype: str = "auto"
    device: str = "cpu"
    remote_code: bool = False


def load(wanted: Wanted) -> PipelinePainter:
    """The pipeline in memory. Raises what diffusers raises where it cannot."""
    automatic = torch.float32 if wanted.device == "cpu" else torch.bfloat16
    pipeline = DiffusionPipeline.from_pretrained(
        str(wanted.folder),
        dtype=DTYPES.get(wanted.dtype, automatic),
        variant=variant(files(wanted.folder)),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=wanted.remote_code,
    ).to(wanted.device)
    pipeline.set_progress_bar_config(disable=True)
    return PipelinePainter(pipeline)


class PipelinePainter:
    """`drawing.Painter` over a pipeline from text to pictures."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._name = type(pipeline).__name__
        self._takes = frozenset(inspect.signature(pipeline.__call__).parameters)
        if "prompt" not in self._takes:
            raise NotImplementedError(f"{self._name} makes no pictures of texts: no implementation of it here")
        self.canvas = canvas_of(pipeline)

    def draw(self, wish: Wish, left: Callable[[], bool]) -> bytes:
        options = self._options(wish)
        if "callback_on_step_end" in self._takes:
            options["callback_on_step_end"] = _stops(left)
        if left():
            raise LeftError("nobody waits for the picture")
        # on the processor: the same numbers whatever the device
        generator = torch.Generator("cpu").manual_seed(wish.seed)
        try:
            with torch.inference_mode():
                done = self._pipeline(wish.prompt, generator=generator, output_type="pil", **options)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            size = f"{wish.width}x{wish.height}"
            raise DrawingError(f"out of memory while drawing {size}: ask for a smaller size ({error})"[:500]) from error
        except (RuntimeError, ValueError, TypeError) as error:
            raise DrawingError(f"{self._name} could not draw it: {error}"[:500]) from error
        if any(getattr(done, "nsfw_content_detected", None) or ()):
            raise FlaggedError("the model's safety checker kept the picture back: ask for something else")
        out = io.BytesIO()
        done.images[0].save(out, "PNG")
        return out.getvalue()

    def _options(self, wish: Wish) -> dict[str, Any]:
        """The call's arguments. UnfitError where the caller asks for what this pipeline has not."""
        asked = {
            "negative_prompt": wish.negative_prompt,
            "num_inference_steps": wish.steps,
            "guidance_scale": wish.guidance_scale,
        }
        options = {name: value for name, value in asked.items() if value is not None}
        if unknown := next((name for name in options if name not in self._takes), None):
            raise UnfitError(f"{unknown}: {self._name} has none: leave it out")
        if {"width", "height"} <= self._takes:
            options |= {"width": wish.width, "height": wish.height}
        elif (wish.width, wish.height) != (self.canvas.width, self.canvas.height):
            raise UnfitError(f"size: {self._name} draws {self.canvas.width}x{self.canvas.height} only: ask for auto")
        return options


def _stops(left: Callable[[], bool]) -> Callable[..., dict[str, Any]]:
    """The end of a drawing that nobody waits for, at its next step."""

    def after_step(_pipeline: Any, _step: int, _timestep: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        if left():
            raise LeftError("nobody waits for the picture")
        return arguments

    return after_step


def canvas_of(pipeline: Any) -> Canvas:
    """What sizes the pipeline draws, from its own configuration."""
    scale = int(getattr(pipeline, "vae_scale_factor", LEAST_MULTIPLE) or LEAST_MULTIPLE)
    # transformers that draw read latents in patches of two
    packed = getattr(pipeline, "transformer", None) is not None
    core = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = getattr(pipeline, "default_sample_size", None) or getattr(getattr(core, "config", None), "sample_size", None)
    sides = size if isinstance(size, (list, tuple)) and len(size) == 2 else (size, size)
    height, width = (int(side) * scale if isinstance(side, int) else OFTEN for side in sides)
    return Canvas(width, height, max(LEAST_MULTIPLE, scale * (2 if packed else 1)))
