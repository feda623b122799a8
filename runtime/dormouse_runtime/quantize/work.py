"""The working child of the quantize Job: plan, room, write, check, measure, marker, rename.

`python -m dormouse_runtime.quantize.work` with DORMOUSE_QUANTIZE; answers in lines (`progress`), exit 0 or 1.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Marker, MarkerFile, Quality, QuantizeResult
from dormouse_api.runtime import QuantizeConfig
from dormouse_runtime.pull import marker, space
from dormouse_runtime.quantize import layout, quality
from dormouse_runtime.quantize.progress import FAILURE, RESULT, Meter, tell
from dormouse_runtime.quantize.tensorfile import BLOCK, MODE, HeaderError, read_header

WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf", ".onnx")
TOOLS = ("torch", "transformers", "compressed-tensors", "bitsandbytes", "llmcompressor")
KILLED = "the pod was killed while it compared, perhaps for memory: raise the memory limit of the RuntimeProfile"
BITSANDBYTES = ("nf4", "llm-int8")
BITSANDBYTES_RATIO = 0.65
"""Bytes of such a copy against the source, at most: embeddings stay as they are."""


def main() -> int:
    """Make the copy. What goes wrong is told as a Failure; what nobody foresaw is a traceback for pid 1 to read."""
    config = QuantizeConfig.model_validate_json(os.environ[names.ENV_QUANTIZE_CONFIG])
    scratch = Path(f"{config.out_dir}.partial")
    try:
        tell(RESULT, make(config, scratch))
    except layout.LayoutError as error:
        return _fail(scratch, Reason.QUANTIZATION_FAILED, str(error))
    except HeaderError as error:
        return _fail(scratch, Reason.CORRUPT, f"{error}: delete the model's claim, and the weights are pulled anew")
    except OSError as error:
        if problem := space.unwritable(error):
            return _fail(scratch, problem.reason, problem.message)
        if not space.is_full(error):
            raise
        return _fail(scratch, Reason.NO_SPACE, f"the volume is full ({error.strerror}): raise spec.storage.size")
    return 0


def _fail(scratch: Path, reason: Reason, message: str) -> int:
    shutil.rmtree(scratch, ignore_errors=True)
    tell(FAILURE, Failure(reason=reason, message=message))
    return 1


def make(config: QuantizeConfig, scratch: Path) -> QuantizeResult:
    """The finished copy in `config.out_dir`. Whatever an earlier run left there without a marker is made anew."""
    began = time.monotonic()
    source, target = Path(config.model_dir), Path(config.out_dir)
    for left in (scratch, target):
        shutil.rmtree(left, ignore_errors=True)
    original = json.loads((source / "config.json").read_text())
    if found := original.get("quantization_config"):
        raise layout.LayoutError(
            f"the weights are quantized already ({found.get('quant_method')}): "
            "use quantization auto, which serves them as they are"
        )
    scratch.mkdir()
    algorithm, write = _way(config)
    meter = Meter(sum(path.stat().st_size for path in _shards(source)))
    written = write(config, source, scratch, meter)
    written += _others(source, scratch, {file.path for file in written})
    seconds = round(time.monotonic() - began, 3)
    result = QuantizeResult(
        directory=target.name,
        method=config.method,
        bytes=sum(file.size for file in written),
        seconds=seconds,
        original_bytes=_size(source),
        algorithm=algorithm,
        quality=compare(config, source, scratch, meter),
    )
    told = {"source": config.source, "commit": config.commit, "quantization": config.method}
    marker.write(scratch, Marker(**told, files=tuple(written), made=result, tools=_versions()))
    scratch.rename(target)
    marker.sync_folder(target.parent)
    return result


def compare(config: QuantizeConfig, source: Path, scratch: Path, meter: Meter) -> Quality | None:
    """The quality of what lies in `scratch`; None where nobody asks."""
    if not config.compare:
        return None
    meter.stage("comparing")
    # A container that is killed for memory goes as a whole: the next try must not compare into the same wall.
    begun = Path(f"{config.out_dir}.comparing")
    if begun.exists():
        begun.unlink()
        return Quality(tokens=0, skipped=KILLED)
    begun.touch()
    found = quality.measure(source, scratch, config.remote_code)
    begun.unlink(missing_ok=True)
    return found


Writer = Callable[[QuantizeConfig, Path, Path, Meter], list[MarkerFile]]


def _way(config: QuantizeConfig) -> tuple[str, Writer]:
    """What makes the copy, by its name in the status."""
    if config.calibration is not None:
        return config.calibration.algorithm.value, _calibrated
    return ("bitsandbytes", _bitsandbytes) if config.method in BITSANDBYTES else ("rounding", _compressed)


def _versions() -> dict[str, str]:
    """Of the tools this image has."""
    found = {}
    for package in TOOLS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _size(source: Path) -> int:
    """Bytes of the weights as pulled."""
    return sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and path.name != names.MARKER)


def _compressed(config: QuantizeConfig, source: Path, scratch: Path, meter: Meter) -> list[MarkerFile]:
    """Weights and config.json in compressed-tensors' layout."""
    from dormouse_runtime.quantize import check, compressed

    files = {path.name: read_header(path)[0] for path in _shards(source)}
    planned = layout.plan(config.method, files)
    _require(scratch, planned.bytes)
    written = compressed.write(source, scratch, planned, config.method, meter)
    meter.stage("checking")
    check.compressed(source, scratch, planned, config.method)
    original = json.loads((source / "config.json").read_text())
    text = json.dumps({**original, "quantization_config": planned.config}, indent=2)
    (scratch / "config.json").write_text(text)
    made = [scratch / "config.json", *scratch.glob(compressed.INDEX)]
    return [*written, *map(_entry, made)]


def _bitsandbytes(config: QuantizeConfig, source: Path, scratch: Path, meter: Meter) -> list[MarkerFile]:
    """Weights and config.json as transformers saves them."""
    from dormouse_runtime.quantize import bnb

    total = sum(path.stat().st_size for path in _shards(source))
    _require(scratch, int(total * BITSANDBYTES_RATIO))
    meter.stage("loading")
    bnb.write(source, scratch, config.method, config.remote_code)
    meter.stage("checking")
    bnb.check(source, scratch, config.method, config.remote_code)
    return [_entry(path) for path in sorted(scratch.iterdir())]


def _calibrated(config: QuantizeConfig, source: Path, scratch: Path, meter: Meter) -> list[MarkerFile]:
    """Weights and config.json as llmcompressor saves them."""
    from dormouse_runtime.quantize import calibrated

    planned = layout.plan(config.method, {path.name: read_header(path)[0] for path in _shards(source)})
    _require(scratch, planned.bytes)
    calibrated.write(config, scratch, planned, meter)
    return [_entry(path) for path in sorted(scratch.iterdir())]


def _shards(source: Path) -> list[Path]:
    shards = sorted(source.glob("*.safetensors"))
    if not shards:
        raise HeaderError(f"{source} holds no safetensors files")
    return shards


def _require(folder: Path, needed: int) -> None:
    free = space.free_bytes(folder)
    if needed + space.SPARE > free:
        raise OSError(28, f"{needed / 2**30:.2f} GiB are needed beside the weights, {free / 2**30:.2f} GiB are free")


def _others(source: Path, scratch: Path, have: set[str]) -> list[MarkerFile]:
    """Tokenizer, templates and whatever else is no weight, copied as they are."""
    copied = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and not path.name.endswith(WEIGHTS) and str(name) not in have and path.name != names.MARKER:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, scratch / name)
            copied.append(_entry(scratch / name, scratch))
    return copied


def _entry(path: Path, root: Path | None = None) -> MarkerFile:
    """The marker's line for a file, made readable for everybody and put on the disk."""
    path.chmod(MODE)
    digest = hashlib.sha256()
    with path.open("rb+") as file:
        while piece := file.read(BLOCK):
            digest.update(piece)
        os.fsync(file.fileno())
    name = path.relative_to(root).as_posix() if root else path.name
    return MarkerFile(path=name, size=path.stat().st_size, sha256=digest.hexdigest())


if __name__ == "__main__":
    sys.exit(main())
