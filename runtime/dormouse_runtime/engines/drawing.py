"""What the image server asks of an engine that draws. Knows no library, no HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class DrawingError(Exception):
    """The picture was not drawn; the sentence is for the caller."""


class UnfitError(DrawingError):
    """The wish cannot be met as it is: the caller must change it."""


class FlaggedError(DrawingError):
    """The model's own safety checker keeps the picture back."""


class LeftError(DrawingError):
    """Nobody waits for the picture any more."""


@dataclass(frozen=True)
class Wish:
    """One picture. What is None is as the pipeline has it."""

    prompt: str
    width: int
    height: int
    seed: int
    """The same seed and wish make the same bytes on the same machine."""
    negative_prompt: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None


@dataclass(frozen=True)
class Canvas:
    """What sizes a pipeline draws, in pixels."""

    width: int
    """Where nobody asks for another."""
    height: int
    multiple: int
    """Both sides are multiples of it."""


class Painter(Protocol):
    """A pipeline in memory. It draws one picture at a time."""

    @property
    def canvas(self) -> Canvas: ...

    def draw(self, wish: Wish, left: Callable[[], bool]) -> bytes:
        """The picture as PNG. Blocks; `left` is asked between steps, and LeftError raised once it is true.

        DrawingError where there is no picture.
        """
        ...
