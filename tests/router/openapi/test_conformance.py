"""schemathesis finds nothing: no 5xx, no answer that a document does not name, by our own document and by Ollama's."""

import re
from urllib.error import URLError

import httpx
import pytest

from tests.router.fakes import Stage
from tests.router.openapi.judge import OLLAMA, OWN, judge


@pytest.mark.slow
@pytest.mark.parametrize(("which", "operations", "cases"), [(OWN, 80, 5000), (OLLAMA, 12, 700)])
async def test_every_answer_is_one_that_the_document_names(which: str, operations: int, cases: int) -> None:
    try:
        verdict = await judge(which)
    except URLError as error:  # Ollama's document is fetched, once per machine
        pytest.skip(f"no proxy of Go modules can be reached: {error.reason}")
    assert verdict.ok, verdict.said
    assert verdict.operations >= operations
    assert verdict.cases >= cases


async def test_the_page_needs_nothing_from_elsewhere(world: Stage, client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    found = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(found) == 4
    for reference in found:
        assert "//" not in reference
        assert not reference.startswith("/"), "the router may be reached below a path of its own"
        part = await client.get(f"/{reference}")
        assert part.status_code == 200, reference
        assert part.headers["x-content-type-options"] == "nosniff"
        assert part.content
    start = (await client.get("/docs/start.js")).text
    assert re.search(r'url: "openapi.json"', start)


async def test_the_page_has_no_other_files(world: Stage, client: httpx.AsyncClient) -> None:
    for name in ("nothing.js", "..%2Fmain.py", "__init__.py"):
        assert (await client.get(f"/docs/{name}")).status_code == 404


async def test_the_document_is_served_whole(world: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1")
    assert len(answer.json()["paths"]) > 40


async def test_a_method_that_a_path_has_not_is_told_those_it_has(world: Stage, client: httpx.AsyncClient) -> None:
    for path, allowed in (
        ("/v1/chat/completions", "GET, POST"),
        ("/v1/models", "GET, HEAD, POST"),
        ("/v1/models/org/name", "DELETE, GET, HEAD, PATCH"),
        ("/api/chat", "POST"),
        ("/models/org/name/reload", "POST"),
        ("/models/org/name/predict", "POST"),
    ):
        answer = await client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path


async def test_what_refuses_a_body_for_its_bytes_speaks_the_dialect_of_its_path(
    world: Stage, client: httpx.AsyncClient
) -> None:
    for path, media in (
        ("/v1/chat/completions", "application/json"),
        ("/v1/predictions", "application/problem+json"),
        ("/v1/models/org/name/predictions", "application/problem+json"),
        ("/v1/deployments/org/name/predictions", "application/problem+json"),
        ("/models/org/name/predict", "application/json"),
    ):
        answer = await client.post(path, content=b'{"a": "\xff"}')
        assert (answer.status_code, answer.headers["content-type"]) == (400, media), path
