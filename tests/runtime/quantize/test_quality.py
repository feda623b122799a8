"""When a copy is compared with its original, and when not: the child's answers played by scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dormouse_api.results import Quality
from dormouse_api.runtime import QuantizeConfig
from dormouse_runtime.quantize import quality, work
from dormouse_runtime.quantize.progress import Meter

GIB = 2**30


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (tmp_path / "model.safetensors").write_bytes(bytes(100))
    return tmp_path


def played(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    (folder / "comparer.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(quality, "COMPARER", "comparer")


def test_what_the_child_found_is_told(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    line = quality.MARK + '{"tokens": 7, "agreement": 0.5, "divergence": 1.5}'
    played(monkeypatch, source, f"print('noise')\nprint({line!r})")
    found = quality.measure(source, source, remote_code=False)
    assert (found.tokens, found.agreement, found.divergence, found.skipped) == (7, 0.5, 1.5, None)


@pytest.mark.parametrize(
    ("script", "words", "seconds"),
    [
        ("raise ValueError('no such layer')", "no such layer", 120),
        ("import os; os.kill(os.getpid(), 9)", "ran out of memory", 120),
        ("import threading; threading.Event().wait()", "more than 2 s", 2),
        ("pass", "it said nothing", 120),
        (f"print({quality.MARK + '{}'!r})", "could not be compared", 120),
        (f"print({quality.MARK + chr(123) + chr(34) + 'tokens' + chr(34) + ': 1, '!r})", "could not be compared", 120),
    ],
)
def test_a_check_that_fails_costs_nothing_but_the_figure(
    monkeypatch: pytest.MonkeyPatch, source: Path, script: str, words: str, seconds: int
) -> None:
    played(monkeypatch, source, script)
    found = quality.measure(source, source, remote_code=False, seconds=seconds)
    assert (found.tokens, found.agreement) == (0, None)
    assert words in str(found.skipped)


def test_a_model_that_writes_no_texts_is_not_compared(source: Path) -> None:
    (source / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    assert "BertModel" in str(quality.unfit(source))


def test_where_memory_does_not_suffice_the_word_says_how_much(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    monkeypatch.setattr(quality, "free_memory", lambda: GIB)
    assert "1.5 GiB of memory would be needed, 1.0 GiB are free" in str(quality.unfit(source))
    monkeypatch.setattr(quality, "free_memory", lambda: 2 * GIB)
    assert quality.unfit(source) is None


@pytest.mark.parametrize(
    ("limit", "used", "cached", "free"),
    [("max", 5, 0, 8 * GIB), (str(6 * GIB), 2 * GIB, GIB, 5 * GIB), (str(64 * GIB), 2 * GIB, 0, 8 * GIB)],
)
def test_free_memory_is_the_lesser_of_the_machine_and_the_limit(
    tmp_path: Path, limit: str, used: int, cached: int, free: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 1 kB\nMemAvailable:   {8 * GIB // 1024} kB\n")
    assert quality.free_memory(tmp_path, meminfo) == free


def test_without_a_cgroup_the_machine_alone_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 3 kB\n")
    assert quality.free_memory(tmp_path / "none", meminfo) == 3072


def test_a_pod_that_was_killed_while_it_compared_does_not_compare_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = QuantizeConfig(
        source="s", commit="c", model_dir=str(tmp_path), out_dir=str(tmp_path / "c-int4"), method="int4"
    )
    asked: list[Path] = []

    def measure(source: Path, *_: object) -> Quality:
        asked.append(source)
        if len(asked) == 1:
            raise KeyboardInterrupt  # as a kill: nothing after it is done
        return Quality(tokens=1, agreement=1, divergence=0)

    monkeypatch.setattr(quality, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        work.compare(config, tmp_path, tmp_path, Meter(1))
    after = work.compare(config, tmp_path, tmp_path, Meter(1))
    assert after is not None
    assert "killed while it compared" in str(after.skipped)
    again = work.compare(config, tmp_path, tmp_path, Meter(1))
    assert again == Quality(tokens=1, agreement=1, divergence=0)
    assert list(tmp_path.iterdir()) == []
