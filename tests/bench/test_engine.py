"""What the engines' bench asks, and how it makes its table."""

import pytest

from bench import engine
from bench.engine import Row
from bench.engines.questions import LONGEST, SHORTEST, questions, total


def test_everybody_is_asked_the_same() -> None:
    assert questions(32) == questions(32)
    assert questions(32)[:8] == questions(1)
    assert len(questions(32)) == 64
    assert {question.tokens for question in questions(32)} <= set(range(SHORTEST, LONGEST + 1))
    assert len({question.tokens for question in questions(32)}) > 20, "lengths differ, as callers' do"
    assert total(questions(1)) == sum(question.tokens for question in questions(1))


def test_the_quickest_repeat_counts() -> None:
    rows = [Row("vllm", 8, 100.0, 0.2), Row("vllm", 8, 120.0, 0.3), Row("vllm", 1, 40.0, 0.1)]
    assert engine.best(rows) == [rows[1], rows[2]]


def test_ratios_are_to_one_prompt_after_the_other_with_as_many_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    engine.table(
        [Row("vllm", 1, 50.0, 0.1), Row("sequential", 1, 40.0), Row("vllm", 8, 390.0), Row("sequential", 8, 39.0)]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines[1:]] == ["1.25", "1.00", "10.00", "1.00"]
    assert "100 ms" in lines[1]
