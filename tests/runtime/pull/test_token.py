"""The token: sent to the hub, and nowhere else to be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.settings import Settings
from tests.runtime.pull.harness import LARGE, REPO, SMALL, TOKEN, Puller


def everything(puller: Puller) -> str:
    """All that the run left on the volume and in the message."""
    files = (p for folder in (puller.models, puller.message) for p in [folder, *folder.rglob("*")] if p.is_file())
    return "".join(p.read_bytes().decode(errors="replace") for p in files)


@pytest.mark.parametrize("stage", ["inspect", "fetch"])
@pytest.mark.parametrize("meta", [{"gated": True, "tokens": [TOKEN]}, {"gated": True, "tokens": []}])
def test_the_token_is_in_nothing_that_is_left(puller: Puller, stage: str, meta: dict[str, object]) -> None:
    puller.hub.publish(REPO, SMALL, meta=meta)
    puller.token(TOKEN)
    ended = puller.finish(puller.start(stage, HF_DEBUG="1"))
    assert ended.code == (0 if meta["tokens"] else 42)
    assert TOKEN not in ended.printed + everything(puller)
    assert any(entry["auth"] for entry in puller.hub.log())


def test_a_message_that_would_hold_the_token_is_cleaned(puller: Puller) -> None:
    puller.hub.publish(REPO, SMALL)
    puller.token(TOKEN)
    ended = puller.finish(puller.start("fetch", DORMOUSE_REVISION=TOKEN))
    assert ended.reason == Reason.NOT_FOUND
    assert "no revision '***'" in str(ended.outcome.failure)
    assert TOKEN not in ended.printed + everything(puller)


def test_the_cdn_never_gets_the_token_of_another_host(puller: Puller) -> None:
    """The redirect leads to another origin (localhost, not 127.0.0.1)."""
    puller.hub.publish(REPO, LARGE, meta={"gated": True, "tokens": [TOKEN]})
    puller.hub.faults({"kind": "elsewhere", "path": "/resolve/", "times": None})
    puller.token(TOKEN)
    assert puller.run("fetch").code == 0
    log = puller.hub.log()
    assert [entry["auth"] for entry in log if "/_cdn/" in entry["path"]] == [False]
    assert all(entry["auth"] for entry in log if "/_cdn/" not in entry["path"])


def test_a_token_file_that_is_not_there_says_what_to_check(puller: Puller, tmp_path: Path) -> None:
    ended = puller.run("inspect", DORMOUSE_TOKEN_FILE=str(tmp_path / "none"))
    assert (ended.reason, ended.code) == (Reason.UNAUTHORIZED, 42)
    assert "tokenSecretRef" in str(ended.outcome.failure)


def test_settings_do_not_print_their_token() -> None:
    assert TOKEN not in repr(Settings(f"hf://{REPO}", token=TOKEN))
