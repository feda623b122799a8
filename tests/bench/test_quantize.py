"""How the quantize bench reads a start's timeline, and what its ratio says."""

import pytest

from bench import quantize
from dormouse_api.runtime import RuntimeState, Stage, StageAt


def test_loading_is_the_stage_between_imports_and_readiness_with_every_try() -> None:
    stages = [Stage.STARTING, Stage.IMPORTING, Stage.LOADING, Stage.WARMING, Stage.LOADING, Stage.READY]
    timeline = tuple(
        StageAt(stage=stage, at=at) for stage, at in zip(stages, (0.0, 1.0, 4.0, 6.5, 7.0, 8.0), strict=True)
    )
    state = RuntimeState(stage=Stage.READY, model="m", commit="c", timeline=timeline)
    assert quantize.loading(state) == pytest.approx(3.5)


def test_the_ratio_is_how_much_longer_a_start_takes_without_the_copy(capsys: pytest.CaptureFixture[str]) -> None:
    row = quantize.Row("int4", "vllm", 1_130_000_000, 330_000_000, 20.0, 2.0, 22.0, False, 0.5)
    assert row.ratio == 11.0
    quantize.table([row])
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "int4",
        "vllm",
        "1.13",
        "0.33",
        "20.0",
        "2.0",
        "22.0",
        "11.00",
        "by",
        "a",
        "new",
        "copy",
        "0.5",
    ]
