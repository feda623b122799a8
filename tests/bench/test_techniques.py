"""The ladder of techniques: what each row leaves out of the product's own command, and what its table judges."""

import itertools
from pathlib import Path

from bench.rung import STOCK, WITHOUT
from bench.techniques import COLUMNS, RUNGS, Row, chill, table
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt, RuntimeConfig
from dormouse_runtime.engines import vllm_args
from dormouse_runtime.engines.base import Command


def product() -> Command:
    attempt = Attempt(engine=Engine.VLLM, model_dir="/models/c0ffee")
    config = RuntimeConfig(model="m", commit="c0ffee", source="hf://a/b", kv_cache_bytes=2**26, attempts=(attempt,))
    host = vllm_args.Host("python", "127.0.0.1", Path("/tmp"), 2.0, "1")
    return vllm_args.command(config, attempt, host)


def test_each_row_switches_one_technique_on_and_the_last_is_the_product() -> None:
    lefts = [set(without) for _, without in RUNGS]
    assert lefts[-1] == set()
    assert all(len(more - fewer) == 1 and fewer < more for more, fewer in itertools.pairwise(lefts))
    assert lefts[0] == {*WITHOUT, "push"}


def test_what_is_left_out_is_in_the_product() -> None:
    """Each change really takes something away: a flag that vLLM renamed would make its row measure nothing."""
    command = product()
    for name in ("bytecode", "eager", "launcher", "uni"):
        changed = WITHOUT[name](command)
        assert (changed.argv, changed.env) != (command.argv, command.env), name
    stock = WITHOUT["launcher"](command)
    assert STOCK in stock.argv
    assert vllm_args.MODULE not in stock.argv
    assert "--enforce-eager" in command.argv
    assert "--enforce-eager" not in WITHOUT["eager"](command).argv
    assert "TORCH_COMPILE_DISABLE" not in WITHOUT["eager"](command).env


def row(technique: str, cache: str, seconds: float, untold: float = 0.0) -> Row:
    stages = dict.fromkeys(COLUMNS, 0.0) | {"untold": untold, "importing": seconds - untold}
    return Row(technique, cache, 0, seconds, stages, 2.0)


def test_the_table_tells_what_warm_is_of_cold_and_judges_it() -> None:
    rows = [row("stock", "cold", 50.0), row("stock", "warm", 40.0), row("all", "cold", 9.0), row("all", "warm", 6.0)]
    lines = table(rows).splitlines()
    assert "| 0.80 |" in lines[3]
    assert lines[-2] == "warm of 'all' is 0.67 of the same row's cold: missed (at most 0.5)"
    assert lines[-1] == "warm of 'all' is 0.12 of cold of 'stock': met (at most 0.5)"


def test_what_no_stage_tells_is_a_share_of_the_start() -> None:
    assert round(row("all", "cold", 10.0, untold=2.5).untold, 6) == 0.25
    assert round(row("all", "cold", 10.0).untold, 6) == 0.0


def test_files_are_taken_out_of_the_page_cache_and_stay_whole(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 10_000)
    chill(tmp_path)
    assert (tmp_path / "a" / "file").read_bytes() == b"x" * 10_000
