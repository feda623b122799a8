"""How the bench finds its figures in what proxies say, and how it shows them."""

import argparse

import pytest

from bench.router import words
from bench.routing.bodies import WRITTEN, WRITTEN_LENGTH, chunk
from bench.routing.openloop import percentile
from bench.routing.table import Row, behind, figures, notes, ratios, row

TARGETS = ("direct", "bare", "router", "vllm-router", "LiteLLM")
ROWS = [
    row("requests per core", "1/s", "router", [12_500, 12_000, 13_000]),
    row("requests per core", "1/s", "bare", [19_999]),
    row("requests per core", "1/s", "vllm-router", [25_000]),
    row("CPU per chunk", "us", "router", [30, 20, 25]),
    row("CPU per chunk", "us", "vllm-router", [50]),
    Row("CPU per chunk", "us", "LiteLLM", None, None, None, "streams: 1000 streams did not finish in 20 s"),
]


def test_the_time_is_found_in_what_a_proxy_makes_of_a_chunk() -> None:
    at = 123_456_789_000
    written = f"@{at:020d}"
    for said in (chunk(at), f'{{"message":{{"content": "{written}"}}}}'.encode(), f'"content":"{written}"'.encode()):
        found = WRITTEN.search(said)
        assert found is not None
        assert int(found[1]) == at
        assert len(found[0]) <= WRITTEN_LENGTH


def test_a_table_tells_medians_spread_and_targets() -> None:
    shown = [line.rstrip(" |") for line in figures(ROWS, TARGETS).splitlines()]
    assert "1.25e+04 (1.2e+04 to 1.3e+04)" in shown[2]
    assert shown[2].endswith("at least 12000: met, bare at least 20000: missed")
    assert "did not finish" in shown[3]
    assert shown[3].endswith("at most 22: missed")
    assert notes(ROWS) == ["LiteLLM: streams: 1000 streams did not finish in 20 s"]


def test_a_ratio_above_one_is_better_whatever_the_unit() -> None:
    shown = [line.rstrip(" |") for line in ratios(ROWS, TARGETS).splitlines()]
    assert shown[2].split()[-1] == "0.50"
    assert shown[3].split()[-1] == "2.00"
    assert behind(ROWS, "vllm-router") == ["requests per core"]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, -1, -1)], share) == value


def test_targets_are_named() -> None:
    read = words(TARGETS)
    assert read("router,direct") == ["direct", "router"]
    with pytest.raises(argparse.ArgumentTypeError, match="envoy"):
        read("router,envoy")
