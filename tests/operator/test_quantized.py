"""What becomes of a quantized copy in the status: its cost, its quality, and the warning when that is low."""

import json
from typing import Any

import pytest

from dormouse_api import names
from dormouse_api.results import Outcome, Quality, QuantizeResult
from dormouse_operator.decide import copies
from dormouse_operator.happenings import happenings
from dormouse_operator.plan import jobs
from tests.operator.bench import Bench
from tests.operator.builders import COMMIT, claim, facts, model, profile
from tests.operator.plan.test_children import container_of, env_of, pod_of
from tests.operator.world import done


def made(quality: Quality | None, folder: str = f"{COMMIT}-int4") -> str:
    result = QuantizeResult(
        directory=folder,
        method="int4",
        bytes=40,
        seconds=2.6,
        original_bytes=100,
        algorithm="rounding",
        quality=quality,
    )
    return Outcome(quantize=result).text()


async def served(bench: Bench, quality: Quality | None) -> dict[str, Any]:
    bench.world.jobs["quantize"] = lambda pod: done(made(quality))
    bench.world.model("tiny", quantization="int4")
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")
    copy: dict[str, Any] = bench.status()["quantized"]
    return copy


async def test_a_good_copy_is_told_with_its_cost_and_quality_and_outlives_the_operator(bench: Bench) -> None:
    copy = await served(bench, Quality(tokens=256, agreement=0.9765, divergence=0.01239))
    assert copy == {
        "folder": f"{COMMIT}-int4",
        "method": "int4",
        "algorithm": "rounding",
        "bytes": 40,
        "originalBytes": 100,
        "seconds": 3,
        "quality": {"tokens": 256, "agreement": "0.977", "divergence": "0.0124"},
    }
    assert bench.condition("Quantized") == ("True", "Quantized")
    assert "97.7% of 256 tokens" in bench.message("Quantized")
    bench.start()
    await bench.settle()
    assert bench.status()["quantized"] == copy


async def test_a_bad_copy_serves_with_a_warning_that_names_the_fix(bench: Bench) -> None:
    await served(bench, Quality(tokens=256, agreement=0.62, divergence=1.9))
    assert bench.condition("Quantized") == ("True", "LowQuality")
    said = bench.message("Quantized")
    assert "62% of 256 tokens" in said
    assert "set quantization int8, calibrate it (spec.calibration), or set quantization none" in said
    told = [event for old, new in bench.quiet.statuses for event in happenings("tiny", old, new)]
    (warned,) = [event for event in told if event.reason == "LowQuality"]
    assert (warned.warning, warned.note) == (True, said)


async def test_a_copy_that_could_not_be_measured_says_why(bench: Bench) -> None:
    await served(bench, Quality(tokens=0, skipped="16.0 GiB of memory would be needed"))
    assert bench.condition("Quantized") == ("True", "Quantized")
    assert "not measured: 16.0 GiB of memory would be needed" in bench.message("Quantized")


async def test_without_a_copy_there_is_nothing_to_tell(bench: Bench) -> None:
    await served(bench, Quality(tokens=256, agreement=1, divergence=0))
    bench.world.model("tiny", quantization="none")
    await bench.settle()
    assert "quantized" not in bench.status()


async def test_calibration_without_an_image_is_refused_at_preflight(bench: Bench) -> None:
    bench.world.model("tiny", quantization="int4", calibration={"configMap": {"name": "texts"}})
    await bench.settle()
    for kind in ("Ready", "Preflight"):
        assert bench.condition(kind) == ("False", "InvalidSpec")
        assert "spec.quantizerImage" in bench.message(kind)
    assert [name for name in bench.of_kind("Job") if "quantize" in name or "pull" in name] == []


async def test_a_calibrated_copy_is_made_by_the_profiles_image_from_the_named_texts(bench: Bench) -> None:
    bench.world.profile(quantizerImage="registry/quantizer:1")
    seen: list[Any] = []

    def work(_: Any) -> Any:
        (job,) = [body for (kind, _, name), body in bench.world.objects.items() if kind == "Job" and "quantize" in name]
        seen.append(job)
        return done(made(None, json.loads(env_of(job)[names.ENV_QUANTIZE_CONFIG])["out_dir"].rpartition("/")[2]))

    bench.world.jobs["quantize"] = work
    texts = {"configMap": {"name": "texts", "key": "support.jsonl"}, "algorithm": "awq", "samples": 64}
    bench.world.model("tiny", quantization="int4", calibration=texts)
    await bench.settle()
    assert bench.condition("Quantized") == ("True", "Quantized")
    (job,) = seen
    assert container_of(job)["image"] == "registry/quantizer:1"
    told = json.loads(env_of(job)[names.ENV_QUANTIZE_CONFIG])
    assert told["calibration"] == {
        "file": "/calibration/texts.jsonl", "algorithm": "awq", "samples": 64, "max_tokens": 512,
    }  # fmt: skip
    (volume,) = [v for v in pod_of(job)["volumes"] if v["name"] == "calibration"]
    assert volume["configMap"] == {"name": "texts", "items": [{"key": "support.jsonl", "path": "texts.jsonl"}]}
    folder = bench.status()["quantized"]["folder"]
    assert folder in bench.status()["volume"]["folders"]
    template = str(bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"])
    assert f"/models/{folder}" in template


def test_texts_on_a_claim_are_mounted_read_only() -> None:
    texts = {"claim": {"name": "sets", "path": "a/b.jsonl"}}
    m, p = model(quantization="int8", calibration=texts), profile(quantizerImage="q:1")
    body = jobs.job(m, jobs.quantize(m, facts(), "int8", claim(), p), 0)
    assert json.loads(env_of(body)[names.ENV_QUANTIZE_CONFIG])["calibration"]["file"] == "/calibration/a/b.jsonl"
    (volume,) = [v for v in pod_of(body)["volumes"] if v["name"] == "calibration"]
    assert volume["persistentVolumeClaim"] == {"claimName": "sets", "readOnly": True}
    (mount,) = [v for v in container_of(body)["volumeMounts"] if v["name"] == "calibration"]
    assert mount == {"name": "calibration", "mountPath": "/calibration", "readOnly": True}


@pytest.mark.parametrize(
    ("method", "algorithm", "fix"),
    [
        ("nf4", "bitsandbytes", "set quantization llm-int8, or set quantization none"),
        ("int4", "gptq", "set quantization int8, or set quantization none"),
        ("int8", "rounding", "set quantization none"),
    ],
)
def test_the_fix_is_one_that_helps(method: str, algorithm: str, fix: str) -> None:
    result = QuantizeResult(
        directory="a", method=method, bytes=1, seconds=1, algorithm=algorithm,
        quality=Quality(tokens=10, agreement=0.5, divergence=3),
    )  # fmt: skip
    said = copies.warning(copies.told(result, None, "a"))
    assert said is not None
    assert said.endswith(f": {fix}")
