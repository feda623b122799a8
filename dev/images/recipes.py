"""Which images there are, what each is made of, and the name its inputs give it.

A recipe's key hashes everything that decides the image, so a build happens exactly when the image would differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev import cache
from dev.images import bases
from dev.images.buildah import Build, Buildah
from dev.images.oci import Image, Store
from dev.models import store as models

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "localhost"
TAG = "dev"
_LOCK = ("pyproject.toml", "uv.lock", "crds/pyproject.toml", "operator/pyproject.toml", "router/pyproject.toml")
_LOCKED = (*_LOCK, "runtime/pyproject.toml", "crds/dormouse_api")


@dataclass(frozen=True)
class Recipe:
    """One of our images. `inputs` are paths from the repository's root."""

    name: str
    file: str
    inputs: tuple[str, ...]
    target: str = ""
    contexts: Mapping[str, Path] = field(default_factory=dict)
    on_engine: bool = False
    packages: tuple[str, ...] = bases.PYTHON
    """Debian packages that BASE holds."""

    @property
    def reference(self) -> str:
        """The name pods know the image by."""
        return f"{PREFIX}/{self.name}:{TAG}"


NAMES = (
    "dormouse-operator",
    "dormouse-router",
    "dormouse-puller",
    "dormouse-scripted",
    "dormouse-hub",
    "dormouse-caller",
    "dormouse-house-prices",
    "dormouse-runtime",
)
BY_NAME = ("dormouse-quantizer",)
"""Large, and needed for calibrated copies only: built when it is asked for."""


def recipes(wanted: Sequence[str] = ()) -> list[Recipe]:
    """The images of the local cluster (all but those `BY_NAME`, or those named), in the order they are built."""
    return [_RECIPES[name]() for name in (*NAMES, *BY_NAME) if name in (wanted or NAMES)]


def _control_plane(target: str, *code: str) -> Recipe:
    return Recipe(f"dormouse-{target}", "Dockerfile.operator", (*_LOCKED, *code), target)


def _hub() -> Recipe:
    return Recipe("dormouse-hub", "dev/images/hub.Dockerfile", ("dev/hub",), contexts={"models": models.ensure()})


_SCRIPTED = ("tests/engine", "tests/__init__.py")
_PULLER = (
    "runtime/dormouse_runtime/__init__.py",
    "runtime/dormouse_runtime/pull",
    "runtime/dormouse_runtime/quantize/__init__.py",
    "runtime/dormouse_runtime/quantize/layout.py",
)
_CUSTOM = ("crds", "runtime/pyproject.toml", "runtime/dormouse_runtime", "manifests/samples/custom/model.py")
_RUNTIME = ("runtime/engine", "runtime/dormouse_runtime", "runtime/pyproject.toml", "crds/dormouse_api")
_QUANTIZER = ("runtime/quantizer", "runtime/engine/prune_torch.sh", "runtime/dormouse_runtime", "crds/dormouse_api")
_RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "dormouse-operator": lambda: _control_plane("operator", "operator/dormouse_operator"),
    "dormouse-router": lambda: _control_plane("router", "router/dormouse_router"),
    "dormouse-puller": lambda: _control_plane("puller", *_PULLER),
    "dormouse-scripted": lambda: Recipe("dormouse-scripted", "tests/engine/Dockerfile", _SCRIPTED),
    "dormouse-hub": _hub,
    "dormouse-caller": lambda: Recipe("dormouse-caller", "dev/images/caller.Dockerfile", (), packages=("curl",)),
    "dormouse-house-prices": lambda: Recipe("dormouse-house-prices", "manifests/samples/custom/Dockerfile", _CUSTOM),
    "dormouse-quantizer": lambda: Recipe("dormouse-quantizer", "Dockerfile.quantizer", _QUANTIZER),
    "dormouse-runtime": lambda: Recipe("dormouse-runtime", "Dockerfile.runtime", _RUNTIME, on_engine=True),
}


def make(recipe: Recipe, store: Store, builder: Buildah) -> Image:
    """The recipe's image, built first when its inputs changed."""
    base = bases.engine_shell(store) if recipe.on_engine else bases.base(store, recipe.packages)
    engine = bases.engine(store) if recipe.on_engine else None
    inputs = [ROOT / path for path in (recipe.file, *recipe.inputs)]
    inputs += recipe.contexts.values()
    words = ("image 1", recipe.name, recipe.target, base, bases.uv(store), engine.layer.digest if engine else "")
    key = cache.key(*words, *inputs)
    name = f"{recipe.name}:{key}"
    try:
        return store.image(name)
    except KeyError:
        cache.say(f"images: building {recipe.name}")
    arguments = {"BASE": builder.adopt(base)}
    if "ARG UV=" in (ROOT / recipe.file).read_text():
        arguments["UV"] = builder.adopt(bases.uv(store))
    if engine is None:
        return builder.build(name, Build(ROOT, ROOT / recipe.file, recipe.target, arguments, recipe.contexts))
    # The engine is mounted while the image is built and put below the built layers afterwards, as if BASE had held it:
    # unpacking its 4.8 GB for the builder, and packing them again, would take minutes.
    arguments["VARIANT"] = "cpu"
    mounts = {engine.source: bases.ENGINE_FOLDER}
    built = builder.build(f"{name}-upper", Build(ROOT, ROOT / recipe.file, "", arguments, {}, mounts))
    lowest = store.image(base).layers
    layers = (*lowest, engine.layer, *built.layers[len(lowest) :])
    return store.add_image(name, layers, store.settings(built))
