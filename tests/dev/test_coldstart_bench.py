"""The cold-start bench's table: medians with their ranges, a column per cache, totals last."""

from bench.coldstart import OTHER, TOTAL, Row, table, verdict


def test_table_has_medians_and_ranges_per_cache() -> None:
    rows = [
        *(Row("cold", run, "loading", seconds) for run, seconds in enumerate((1.0, 5.0, 2.0))),
        *(Row("cold", run, TOTAL, seconds) for run, seconds in enumerate((10.0, 12.0, 11.0))),
        Row("cold", 0, OTHER, 0.5),
        Row("warm", 0, "loading", 0.25),
        Row("warm", 0, "compiling", 3.0),
        Row("warm", 0, TOTAL, 4.0),
    ]
    lines = table(rows).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == [
        "stage", "-" * 14, "loading", "compiling", OTHER, TOTAL,
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[2].split("|")[2:4]] == ["2.00 (1.00-5.00)", "0.25 (0.25-0.25)"]
    assert [cell.strip() for cell in lines[3].split("|")[2:4]] == ["-", "3.00 (3.00-3.00)"]
    assert [cell.strip() for cell in lines[5].split("|")[2:4]] == ["11.00 (10.00-12.00)", "4.00 (4.00-4.00)"]


def test_warm_is_judged_against_cold() -> None:
    cold = [Row("cold", run, TOTAL, seconds) for run, seconds in enumerate((10.0, 9.0, 20.0))]
    assert verdict([*cold, Row("warm", 0, TOTAL, 5.0)]).startswith("warm is 0.50 of cold: met (at most 0.5)")
    assert verdict([*cold, Row("warm", 0, TOTAL, 7.5)]).startswith("warm is 0.75 of cold: missed (at most 0.5)")
    assert "of cold" not in verdict(cold)
