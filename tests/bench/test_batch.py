"""The batch bench runs whole, and its judgement can fail."""

import json
import subprocess
from pathlib import Path

import pytest

from bench.batch import GROWTH, _memory
from bench.batching import lines
from bench.batching.beside import Latencies, percentile, rows
from bench.batching.run import Watched, write_lines
from bench.routing.processes import python


def run(report: Path, *arguments: object) -> dict[str, float]:
    """The figures of a run by their names; its exit status says whether all that is wanted is so."""
    command = python("bench.batch", *arguments, "--json", report)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as done:
        try:
            said, _ = done.communicate(timeout=250)
        finally:
            done.terminate()  # it ends what it has begun
    assert report.exists(), said
    found = json.loads(report.read_text())
    assert done.returncode == (0 if all(row["wanted"] is not False for row in found) else 1)
    return {row["measure"]: row["value"] for row in found}


@pytest.mark.slow
def test_a_short_run_measures_everything(tmp_path: Path) -> None:
    sizes = ("--lines", 300, "--batches", 1, "--beside", 10_000, "--slots", 32, "--seconds", 0.05)
    found = run(tmp_path / "rows.json", *sizes, "--rate", 20, "--interactive", 1, "--rest", 0.5)
    assert found["the worker, whole process, before"] <= found["the same, at its highest"]
    assert found["batch, from its creation to its end"] > 0
    assert found["batch beside the ideal client"] > 0
    assert found["interactive, alone: calls"] == found["it comes to a batch: calls"] == 20
    assert found["a batch begins beside it: p95"] > 0


@pytest.mark.engine
def test_a_few_lines_of_real_vllm_have_all_their_tokens(tmp_path: Path) -> None:
    """The bench itself compares the tokens that output, worker and peer tell of, and ends where they differ."""
    sizes = ("--vllm-lines", 12, "--tokens", 3, "--seqs", 4)
    found = run(tmp_path / "rows.json", "--parts", "vllm", *sizes)
    assert found["prompts were as long"] == 1
    assert found["batch beside LLM.generate"] > 0
    assert found["ideal client beside LLM.generate"] > 0


def test_no_two_prompts_are_alike_and_none_was_warmed(tmp_path: Path) -> None:
    lines.write(tmp_path / "lines", range(200), 5, 16)
    written = lines.asked(tmp_path / "lines")
    assert [body["max_tokens"] for body in written] == [16] * 200
    uses = [lines.body(number, 5, 16, lines.DIRECT) for number in range(200)]
    prompts = [body["prompt"] for body in (*written, *uses, *lines.warming())]
    assert len(set(prompts)) == len(prompts) == 400 + lines.WARMING


@pytest.mark.parametrize(("beside", "wanted"), [(0.10, True), (0.149, True), (0.151, False), (0.4, False)])
def test_both_ways_to_meet_a_batch_are_judged(beside: float, wanted: bool) -> None:
    quick = [0.1] * 100
    for begun, joined in (([beside] * 100, quick), (quick, [beside] * 100)):
        found = rows(Latencies(quick, begun, joined, 1.0))
        judged = {row.measure: row.wanted for row in found if row.wanted is not None}
        assert len(judged) == 2
        assert all(judged.values()) == wanted


def test_a_twentieth_of_the_calls_may_take_longer() -> None:
    found = rows(Latencies([0.1] * 100, [0.1] * 96 + [9.0] * 4, [0.1] * 94 + [9.0] * 6, 1.0))
    assert [row.wanted for row in found if row.wanted is not None] == [True, False]


@pytest.mark.parametrize(("grows", "ok"), [(0, True), (GROWTH // 2, True), (2 * GROWTH, False)])
def test_memory_that_grows_is_found(grows: int, ok: bool) -> None:
    watched = Watched(1000, validated=1.0, last=100.0)
    watched.memory = [(float(at), 50_000_000 + grows * at // 100) for at in range(120)]
    growth = [row for row in _memory(watched) if row.wanted is not None]
    assert [row.wanted for row in growth] == [ok]


def test_lines_are_good_and_no_two_alike(tmp_path: Path) -> None:
    write_lines(tmp_path / "lines", 100, 1000)
    text = (tmp_path / "lines").read_bytes().splitlines()
    assert len({json.loads(line)["body"]["messages"][0]["content"] for line in text}) == 100
    assert all(800 < len(line) < 1200 for line in text)


def test_percentiles() -> None:
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 3.0, 3.0]
