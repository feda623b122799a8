"""What tests of shared limits have: counts of two routers on one real server."""

from collections.abc import AsyncIterator

import pytest

from dormouse_router.store.counts import ValkeyCounts
from tests.router.store.conftest import redis as redis


@pytest.fixture
async def real(redis: str) -> AsyncIterator[list[ValkeyCounts]]:
    made = [ValkeyCounts(redis, 60.0) for _ in range(2)]  # however busy the machine is
    yield made
    for each in made:
        await each.close()
