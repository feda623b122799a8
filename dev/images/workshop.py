"""Makes the images and ships them: what `make up` and the tests call."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import cache
from dev.cluster.layout import Layout
from dev.images import bases, recipes
from dev.images.buildah import Buildah, ImageError
from dev.images.node import Node
from dev.images.oci import Image, Store

_KEPT = 8
"""Builds kept of each image: a few branches and clones can go back and forth without building."""


@dataclass(frozen=True)
class Made:
    """An image that exists, and the name pods know it by."""

    reference: str
    image: Image
    engine: bases.EngineLayer | None = None


class Workshop:
    """The image store of this machine, with the builder beside it."""

    def __init__(self) -> None:
        self._folder = cache.root() / "images"
        self._store = Store(self._folder / "store")
        self._builder = Buildah(self._folder / "buildah", self._store)

    def make(self, wanted: Sequence[str] = ()) -> list[Made]:
        """The images (all, or those named without prefix and tag), built where their inputs changed."""
        known = recipes.recipes(wanted)
        unknown = set(wanted) - {recipe.name for recipe in known}
        if unknown:
            raise ImageError(
                f"no image {', '.join(sorted(unknown))}; there are {', '.join((*recipes.NAMES, *recipes.BY_NAME))}"
            )
        with self._alone():
            self._store.create()
            made = [self._made(recipe) for recipe in known]
            self._store.keep_newest(_KEPT, [item.image for item in made])
            self._builder.tidy()
        return made

    def ship(self, layout: Layout, made: Sequence[Made]) -> list[str]:
        """Brings images into the node of a running cluster; returns the names that are new there or moved."""
        node, moved = Node(layout, self._store), []
        for item in made:
            started = time.monotonic()
            if node.ship(item.reference, item.image, item.engine):
                moved.append(item.reference)
                cache.say(f"images: {item.reference} into the node: {time.monotonic() - started:.1f} s")
        return moved

    def save(self, made: Sequence[Made], folder: Path) -> list[Path]:
        """Writes each image as an OCI archive `folder/<name>.tar`, for other clusters and registries."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for item in made:
            archive = folder / f"{item.reference.rpartition('/')[2].partition(':')[0]}.tar"
            with archive.open("wb") as out:
                size = self._store.archive(item.image, [item.reference], frozenset(), out)
            cache.say(f"images: {archive}: {size / 1e6:.0f} MB")
            written.append(archive)
        return written

    def _made(self, recipe: recipes.Recipe) -> Made:
        image = recipes.make(recipe, self._store, self._builder)
        return Made(recipe.reference, image, bases.engine(self._store) if recipe.on_engine else None)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer of the store at a time; a second process waits and then finds its images made."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                cache.say("images: waiting for another process that is building")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
