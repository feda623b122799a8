"""The image store: what goes in comes out, what the node has is not sent, and containerd's names are computed right."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from dev.images import buildah
from dev.images.node import chain_id
from dev.images.oci import Layer, Store
from dev.images.recipes import _RECIPES, NAMES, ROOT

SETTINGS = {"Env": ["PATH=/bin"], "User": "10001:10001"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create()
    return made


def layer(store: Store, name: str, content: bytes) -> Layer:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    packed.seek(0)
    return store.add_layer(packed)


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_an_image_is_found_again_with_its_layers_and_settings(store: Store) -> None:
    layers = [layer(store, "a", b"1"), layer(store, "b", b"2")]
    made = store.add_image("one:1", layers, SETTINGS)
    assert store.image("one:1") == made
    assert made.layers == tuple(layers)
    assert store.settings(made) == SETTINGS
    assert [blob.size for blob in made.blobs] == [store.path(blob).stat().st_size for blob in made.blobs]


def test_a_name_moves_to_the_newer_image_and_leaves_others_alone(store: Store) -> None:
    first = layer(store, "a", b"1")
    other = store.add_image("other:1", [first], {})
    store.add_image("one:1", [first], {})
    newer = store.add_image("one:1", [first, layer(store, "b", b"2")], {})
    assert store.image("one:1") == newer
    assert store.image("other:1") == other


def test_the_same_files_give_the_same_id(store: Store, tmp_path: Path) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    elsewhere.create()
    ids = {s.add_image(name, [layer(s, "a", b"1")], SETTINGS).id for s, name in ((store, "x:1"), (elsewhere, "y:2"))}
    assert len(ids) == 1


def test_an_unknown_image_is_a_key_error(store: Store) -> None:
    with pytest.raises(KeyError, match="no image nobody:1"):
        store.image("nobody:1")


def test_only_the_newest_builds_are_kept_with_what_they_share(store: Store) -> None:
    base = layer(store, "base", b"0")
    images = {n: store.add_image(f"one:{n}", [base, layer(store, "own", bytes([n]))], {}) for n in range(4)}
    other = store.add_image("other:1", [base], {})
    assert store.keep_newest(2, [images[0]]) == ["one:1"]
    assert store.keep_newest(2) == ["one:0"]
    assert [store.image("one:3"), store.image("one:2"), store.image("other:1")] == [images[3], images[2], other]
    with pytest.raises(KeyError):
        store.image("one:1")
    assert store.path(base).exists()
    assert not store.path(images[0].layers[1]).exists()
    assert store.keep_newest(2) == []


def test_an_archive_leaves_out_what_the_receiver_has(store: Store) -> None:
    base, own = layer(store, "base", b"0" * 50_000), layer(store, "own", b"1")
    image = store.add_image("one:1", [base, own], SETTINGS)
    out = io.BytesIO()
    written = store.archive(image, ["localhost/one:dev"], frozenset({base.digest}), out)
    files = unpacked(out.getvalue())
    sent = {name.removeprefix("blobs/sha256/") for name in files if name.startswith("blobs/")}
    assert sent == {blob.digest.removeprefix("sha256:") for blob in (own, image.config, image.manifest)}
    assert written < base.size
    index = json.loads(files["index.json"])
    assert [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]] == ["localhost/one:dev"]
    assert index["manifests"][0]["digest"] == image.manifest.digest


def test_chain_ids_are_those_of_the_image_specification() -> None:
    """Values computed once with containerd itself: `ctr snapshots ls` after an import of these two layers."""
    below = "sha256:4ce8eb45cd4087340ee94b1f47b75e0a975a3eb2e7f216b2870e2ba8c5e981c1"
    above = "sha256:609208d5f8886e741672d75a30dd1f4b7a59f8f490fd62e620223684fbf97e8a"
    layers = [Layer(digest, 1, "tar", digest) for digest in (below, above)]
    assert chain_id(layers[:1]) == below
    assert chain_id(layers) == "sha256:0b84a02c2a38a392945643b28369555c4e0a81e93f5e4b26680c8368e5273b2e"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dormouse-hub"])
def test_every_input_of_a_recipe_exists(name: str) -> None:
    recipe = _RECIPES[name]()
    missing = [path for path in (recipe.file, *recipe.inputs) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize(("file", "target"), [("Dockerfile.operator", "operator"), ("Dockerfile.runtime", "")])
def test_a_recipe_hashes_all_that_its_dockerfile_copies(file: str, target: str) -> None:
    wanted = {"operator": {"dormouse-operator", "dormouse-router", "dormouse-puller"}, "": {"dormouse-runtime"}}[target]
    inputs = {path for name in wanted for path in _RECIPES[name]().inputs}
    copied = [
        source.replace("${VARIANT}", "cpu")
        for line in (ROOT / file).read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    for source in copied:
        assert any(source == path or source.startswith(f"{path}/") for path in inputs), f"{source} changes no key"


def test_the_puller_needs_nothing_of_the_runtime_that_its_image_lacks() -> None:
    there = [
        ROOT / path for path in _RECIPES["dormouse-puller"]().inputs if path.startswith("runtime/dormouse_runtime")
    ]
    texts = "\n".join(_text(path) if path.is_dir() else path.read_text() for path in there)
    imported = set(re.findall(r"^(?:from|import) (dormouse_runtime[\w.]*)", texts, re.MULTILINE))
    assert imported
    for name in imported:
        module = ROOT / "runtime" / name.replace(".", "/")
        found = {module / "__init__.py"} if module.is_dir() else {module.with_suffix(".py")}
        assert all(any(path == have or have in path.parents for have in there) for path in found), f"no {name}"


def _text(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.rglob("*.py"))


def test_a_cache_whose_removal_was_stopped_is_whole_or_gone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "storage"
    images = storage / "root" / "overlay-images"
    images.mkdir(parents=True)
    for number in range(3):
        (images / str(number)).touch()
    builder = buildah.Buildah(storage, store)
    builder.tidy()
    assert len(list(images.iterdir())) == 3, "it is not large yet"

    def stopped(folder: Path, **_: object) -> None:
        if folder.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(buildah, "_MOST_IMAGES", 2)
        patched.setattr("shutil.rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            builder.tidy()
    assert not images.exists(), "no build meets what is half removed"
    builder.tidy()
    assert [path for path in storage.iterdir() if path.is_dir()] == []
