"""Which web pages may call, and what a browser is told."""

import httpx
import pytest

from dormouse_router.app import App
from dormouse_router.cors import Cors
from dormouse_router.request import Refusal, Reply
from tests.router.fakes import Engine, Stage


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (b"http://localhost", b"router", True),
        (b"http://localhost:3000", b"router", True),
        (b"https://127.0.0.1:8443", b"router", True),
        (b"http://[::1]:5173", b"router", True),
        (b"http://0.0.0.0:11434", b"router", True),
        (b"HTTP://LocalHost:3000", b"router", True),
        (b"http://127.0.0.1.evil.example", b"router", False),
        (b"http://127.0.0.2", b"router", False),
        (b"http://localhost:x", b"router", False),
        (b"ftp://localhost", b"router", False),
        (b"http://user@localhost", b"router", False),
        (b"file://", b"router", True),
        (b"file:///srv/page.html", b"router", True),
        (b"tauri://localhost", b"router", True),
        (b"moz-extension://abc", b"router", True),
        (b"safari-web-extension://abc", b"router", True),
        (b"vscode-file://vscode-app", b"router", True),
        (b"app://obsidian.md", b"router", True),
        (b"chrome-extension://abc", b"router", True),
        (b"vscode-webview://abc", b"router", True),
        (b"https://chat.example", b"chat.example", True),
        (b"https://Chat.example:8443", b"chat.example:8443", True),
        (b"https://ui.example", b"router", True),
        (b"https://evil.example", b"router", False),
        (b"http://localhost.evil.example", b"router", False),
        (b"http://localhost:3000.evil.example", b"router", False),
        (b"null", b"router", False),
        (b"https://chat.example", None, False),
    ],
)
def test_origins(origin: bytes, host: bytes | None, allowed: bool) -> None:
    app = App([])
    assert Cors(app, app.words, ("https://ui.example/",)).allows(origin, host) is allowed


def test_all_may_be_let_in() -> None:
    def words(path: str, refusal: Refusal) -> Reply:
        raise AssertionError(f"{path}: {refusal}")

    assert Cors(App([]), words, ("*",)).allows(b"https://evil.example", b"router")


async def test_a_page_of_this_machine_is_let_in(client: httpx.AsyncClient) -> None:
    asked = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-stainless-lang, x-dormouse-session, anthropic-version, x-else",
    }
    before = await client.options("/api/chat", headers=asked)
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (204, "http://localhost:3000")
    assert "x-stainless-lang, x-dormouse-session" in before.headers["access-control-allow-headers"]
    for allowed in ("anthropic-version", "x-api-key"):
        assert allowed in before.headers["access-control-allow-headers"]
    assert "x-else" not in before.headers["access-control-allow-headers"]
    for path in ("/api/tags", "/v1/models"):
        answer = await client.get(path, headers={"origin": "http://localhost:3000"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
    missing = await client.post("/api/chat", json={"model": "x"}, headers={"origin": "http://localhost:3000"})
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, "http://localhost:3000")


@pytest.mark.parametrize("path", ["/pull", "/api/pull", "/v1/chat/completions"])
async def test_a_strangers_page_changes_nothing(world: Stage, client: httpx.AsyncClient, path: str) -> None:
    headers = {"origin": "https://evil.example", "content-type": "text/plain"}
    answer = await client.post(path, content=b'{"model": "org/new"}', headers=headers)
    assert answer.status_code == 403
    assert "DORMOUSE_ORIGINS" in str(answer.json()["error"])
    assert "access-control-allow-origin" not in answer.headers
    assert world.cluster.created == []


async def test_callers_that_are_no_browser_are_not_asked(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/tags")
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/messages", "/api/chat", "/api/tags", "/pull", "/models", "/nothing"]
)
async def test_a_preflight_is_204_on_every_path_and_allows_what_clients_send(
    client: httpx.AsyncClient, path: str
) -> None:
    sent = ("Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta")
    stainless = ("x-stainless-arch", "x-stainless-async", "x-stainless-custom-poll-interval", "x-stainless-timeout")
    asked = {
        "origin": "tauri://localhost",
        "access-control-request-method": "POST",
        "access-control-request-headers": ", ".join((*sent, *stainless)),
    }
    answer = await client.options(path, headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "tauri://localhost"
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {name.lower() for name in (*sent, *stainless)} <= allowed
    methods = {name.strip() for name in answer.headers["access-control-allow-methods"].split(",")}
    assert methods == {"GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"}
    assert int(answer.headers["access-control-max-age"]) > 0


async def test_a_page_may_read_what_answers_say_in_headers(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.awake(engine)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
    called = await client.post("/v1/chat/completions", json=body, headers={"origin": "app://x"})
    pulled = await client.post("/pull", json={"model": "org/new"}, headers={"origin": "app://x"})
    plain = {"content-type", "content-length", "date", "vary", "connection"}
    for answer, words in ((called, {"x-dormouse-model", "x-request-id"}), (pulled, {"location"})):
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        said = {name for name in answer.headers if not name.startswith("access-control-")} - plain
        assert words <= said <= exposed
        assert answer.headers["vary"] == "origin"
