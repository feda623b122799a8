"""`status.versions`: what is kept of the commits that were on the volume."""

import pytest

from dormouse_api.versions import MOST_VERSIONS, ModelVersion
from dormouse_operator.decide.versions import seen


def version(commit: str, at: int = 0, revision: str = "main", quantization: str | None = None) -> ModelVersion:
    return ModelVersion(commit=commit, revision=revision, at=f"2026-01-01T00:00:{at:02}Z", quantization=quantization)


@pytest.mark.parametrize(
    ("known", "found", "after"),
    [
        (None, version("a", 1), [version("a", 1)]),
        ([version("a", 1)], version("b", 2), [version("a", 1), version("b", 2)]),
        ([version("a", 1)], version("a", 9), [version("a", 1)]),
        # back to a former one, by another name and in another form: it keeps its time and its place
        (
            [version("a", 1), version("b", 2)],
            version("a", 9, revision="v1", quantization="int4"),
            [version("a", 1, revision="v1", quantization="int4"), version("b", 2)],
        ),
    ],
)
def test_each_commit_is_kept_once_with_its_first_time(
    known: list[ModelVersion] | None, found: ModelVersion, after: list[ModelVersion]
) -> None:
    assert seen(known, found) == after
    assert seen(after, found) == after, "a second look writes nothing"


def test_the_oldest_go_first() -> None:
    known: list[ModelVersion] = []
    for number in range(MOST_VERSIONS + 3):
        known = seen(known, version(f"c{number}"))
    assert [each.commit for each in known] == [f"c{number}" for number in range(3, MOST_VERSIONS + 3)]
