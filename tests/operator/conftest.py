"""The bench as a fixture: no look of a test may have ended in a bug."""

from collections.abc import Iterator

import pytest

from tests.operator.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    assert "bug" not in made.quiet.results
