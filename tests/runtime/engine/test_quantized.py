"""Every quantization this machine can run: made once, compared with the original, served with right answers.

Run a row alone with `-k`: each starts an engine or two.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from dev import enginevenv
from dev.models.conversations import conversations
from dormouse_api.calibration import Algorithm, CalibrationConfig
from dormouse_api.conditions import Reason
from dormouse_api.names import MARKER
from dormouse_api.results import Marker, Quality, QuantizeResult
from tests.runtime.engine.conftest import CODE, COMMIT, Quantize, Serve, ready
from tests.runtime.engine.test_engines import knows

pytestmark = pytest.mark.engine

COPIES = [
    ("int4", "vllm", "rounding"),
    ("int8", "vllm", "rounding"),
    ("fp8", "vllm", "rounding"),
    ("nf4", "transformers", "bitsandbytes"),
    ("llm-int8", "transformers", "bitsandbytes"),
]
GOOD = 0.9
"""As the operator judges (decide/copies.py)."""
FEW = 5
"""Tokens that may differ however small the sample is."""
QUESTIONS = 8
"""Of the sample."""
NOISE = 0.02
"""Nats: what may lie between good copies of a tiny model on one sample of 85 tokens (seen: 0.006 and 0.009)."""


@pytest.mark.parametrize(("method", "engine", "algorithm"), COPIES)
def test_a_copy_is_made_once_keeps_the_models_words_and_answers_right(
    serve: Serve, quantize: Quantize, volume: Path, method: str, engine: str, algorithm: str
) -> None:
    made = quantize(method)
    assert made.failure is None
    assert made.quantize is not None
    copy = volume / made.quantize.directory
    whole(copy, made.quantize)
    assert (made.quantize.method, made.quantize.algorithm) == (method, algorithm)
    pod = serve((engine, copy, method))
    assert ready(pod)
    knows(pod)
    assert not pod.state().passed
    before = stamps(copy)
    again = quantize(method)
    assert again.quantize == made.quantize.model_copy(update={"seconds": 0.0})
    assert stamps(copy) == before


def whole(copy: Path, made: QuantizeResult) -> None:
    """A finished copy: smaller, readable for everybody, marked, and close to the original."""
    source = copy.parent / COMMIT
    marker = Marker.model_validate_json((copy / MARKER).read_text())
    assert (marker.quantization, marker.commit) == (made.method, COMMIT)
    assert weights(copy) < 0.72 * weights(source)
    assert made.original_bytes is not None
    assert made.bytes < made.original_bytes
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in copy.rglob("*"))
    assert made.quality is not None
    assert made.quality.skipped is None
    # how much a tiny model says to what it was not taught differs from one training to the next: 41, 85 tokens
    assert made.quality.tokens >= 2 * QUESTIONS
    assert made.quality.agreement is not None
    assert made.quality.agreement >= min(GOOD, 1 - FEW / made.quality.tokens)
    assert made.quality.divergence is not None
    assert 0 <= made.quality.divergence < 0.1


def weights(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def published(python: str, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as somebody published them, a folder for each method; one process, for importing torch takes longest."""
    folder = tmp_path_factory.mktemp("published")
    script = Path(__file__).with_name("readymade.py")
    subprocess.run([python, str(script), str(models / "tiny-chat"), str(folder), "gptq", "awq", "w8a16"], check=True)
    return folder


@pytest.fixture(scope="module")
def rounded(quantize: Quantize) -> QuantizeResult:
    """The int4 copy on the volume, made first if no test has."""
    made = quantize("int4").quantize
    assert made is not None
    return made


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_weights_that_come_quantized_are_served_as_they_are(serve: Serve, published: Path, method: str) -> None:
    pod = serve(("vllm", published / method, method))
    assert ready(pod)
    knows(pod)
    assert (pod.state().engine, pod.state().passed) == ("vllm", ())


def test_what_vllm_cannot_run_here_falls_to_transformers_with_the_reason(serve: Serve, published: Path) -> None:
    folder = published / "w8a16"
    pod = serve(("vllm", folder, "compressed-tensors"), ("transformers", folder, "compressed-tensors"))
    assert ready(pod)
    knows(pod)
    state = pod.state()
    assert state.engine == "transformers"
    (passed,) = state.passed
    assert (passed.engine, passed.reason) == ("vllm", Reason.QUANTIZATION_FAILED)


def test_a_copy_with_its_scales_zeroed_is_seen_to_be_another_model(
    rounded: QuantizeResult, python: str, volume: Path, tmp_path: Path
) -> None:
    source, damaged = volume / COMMIT, tmp_path / "damaged"
    zero = (
        "import sys, shutil, torch; from safetensors.torch import load_file, save_file; "
        "shutil.copytree(sys.argv[1], sys.argv[2]); path = sys.argv[2] + '/model.safetensors'; t = load_file(path); "
        "save_file({n: torch.zeros_like(v) if n.endswith('weight_scale') else v for n, v in t.items()}, path, "
        "{'format': 'pt'})"
    )
    subprocess.run([python, "-c", zero, str(volume / rounded.directory), str(damaged)], check=True)
    seen = measured(python, source, damaged)
    assert seen.agreement is not None
    assert seen.agreement < GOOD - 0.2  # what is left, embeddings and head, still guesses half of the words
    assert seen.divergence is not None
    assert seen.divergence > 1


def measured(python: str, source: Path, copy: Path) -> Quality:
    """The Job's own comparison."""
    script = (
        "import sys; from pathlib import Path; from dormouse_runtime.quantize import quality; "
        "print(quality.measure(Path(sys.argv[1]), Path(sys.argv[2]), False).model_dump_json())"
    )
    command = [python, "-c", script, str(source), str(copy)]
    done = subprocess.run(command, env={**os.environ, **CODE}, stdout=subprocess.PIPE, check=True, text=True)
    return Quality.model_validate_json(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("algorithm", [Algorithm.GPTQ, Algorithm.AWQ])
def test_a_calibrated_copy_is_served_by_vllm_and_loses_no_more_than_rounding(
    serve: Serve, quantize: Quantize, rounded: QuantizeResult, volume: Path, algorithm: Algorithm
) -> None:
    texts = volume / "texts.jsonl"
    talks = [talk for talk in conversations() if not talk.tools]
    texts.write_text("\n".join(json.dumps({"messages": list(talk.messages)}) for talk in talks[:: len(talks) // 24]))
    calibration = CalibrationConfig(file=str(texts), algorithm=algorithm, samples=24, max_tokens=128)
    made = quantize("int4", str(enginevenv.quantizer()), calibration)
    assert made.failure is None
    assert made.quantize is not None
    assert made.quantize.algorithm == algorithm.value
    copy = volume / made.quantize.directory
    whole(copy, made.quantize)
    pod = serve(("vllm", copy, "int4"))
    assert ready(pod)
    knows(pod)
    assert not pod.state().passed
    assert made.quantize.quality is not None
    assert rounded.quality is not None
    assert made.quantize.quality.divergence is not None
    assert rounded.quality.divergence is not None
    # One sample of a tiny model: equal within noise counts, clearly worse does not.
    assert made.quantize.quality.divergence <= max(1.5 * rounded.quality.divergence, NOISE)
