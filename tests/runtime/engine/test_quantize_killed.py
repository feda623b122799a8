"""A quantize Job that is killed at any moment, or finds no room: never half a copy, and the next try is clean."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.engine.conftest import CODE

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", params=["int4", "nf4"])
def found(request: pytest.FixtureRequest, python: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `killing.py` saw."""
    folder = tmp_path_factory.mktemp("killed")
    script = str(Path(__file__).with_name("killing.py"))
    command = [python, script, str(folder), request.param]
    done = subprocess.run(command, env={**os.environ, **CODE}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode().rpartition("ANSWERS ")[2])


def test_killed_at_any_moment_it_leaves_a_whole_copy_or_none_and_the_next_try_is_clean(found: Any) -> None:
    told = found["killed"]
    assert told["last"] == 0, "the last try is the one that nobody killed"
    assert told["moments"] > 15
    assert told["states"] > 5
    assert (told["half"], told["unclean"]) == ([], [])


def test_without_room_it_says_so_and_leaves_nothing(found: Any) -> None:
    for told in found["starved"]:
        assert told["ended"] != 0
        assert '"reason":"NoSpace"' in told["said"]
        assert told["left"] == []
        assert (told["again"], told["whole"]) == (0, True)
