"""The address of the router to judge, and a picture that does not come from the internet."""

import base64
import os

import httpx
import pytest

from tests.engine.others import picture

ADDRESS = "DORMOUSE_TESTED"
"""The environment variable that says where the router is."""


@pytest.fixture(scope="session")
def url() -> str:
    """The router's address, without a path."""
    return os.environ[ADDRESS]


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite fetches a picture from GitHub to send it: here it is drawn, and nothing leaves the machine."""
    drawn = base64.b64decode(picture("a mouse"))
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=drawn))
