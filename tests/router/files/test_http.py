"""The Files API over HTTP: what clients may send, what they are told, and that what is refused leaves nothing."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse_router.inflate import MOST
from dormouse_router.store import open_store
from tests.router.fakes import SETTINGS, Stage, stage, until

MIB = 1024 * 1024
LIMITS: dict[str, Any] = {"file_bytes": 3 * MIB, "batch_file_bytes": 2 * MIB, "files_owner_count": 20}
Made = tuple[Stage, httpx.AsyncClient, Path]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    """A router that keeps in SQLite and a folder, a client of it, and the folder."""
    from dataclasses import replace

    folder = tmp_path / "files"
    settings = replace(SETTINGS, database_url=f"sqlite:///{tmp_path}/one.db", files=f"file://{folder}", **LIMITS)
    async with (
        open_store(settings) as keeping,
        stage(keeping, database_url=settings.database_url, files=settings.files, **LIMITS) as running,
        httpx.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        await until(lambda: keeping.trouble() is None, 60)  # its tables are made
        yield running, client, folder


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


async def upload(client: httpx.AsyncClient, content: bytes = b"{}\n", name: str = "a.jsonl", **fields: str) -> Any:
    return await client.post("/v1/files", files={"file": (name, content)}, data={"purpose": "batch"} | fields)


async def test_a_file_goes_up_is_listed_read_and_deleted(made: Made) -> None:
    _, client, folder = made
    assert (await client.get("/v1/files")).json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
    answer = await upload(client, b"0123456789")
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert file["expires_at"] == file["created_at"] + 2_592_000
    assert (file["bytes"], file["filename"], file["status"]) == (10, "a.jsonl", "processed")
    assert left(folder) == [file["id"]]
    assert (await client.get("/v1/files", params={"purpose": "batch"})).json()["data"] == [file]
    assert (await client.get("/v1/files", params={"purpose": "vision"})).json()["data"] == []
    path = f"/v1/files/{file['id']}"
    assert (await client.get(path)).json() == file
    whole = await client.get(f"{path}/content")
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["content-disposition"] == "attachment; filename=\"a.jsonl\"; filename*=UTF-8''a.jsonl"
    assert (await client.delete(path)).json() == {"id": file["id"], "object": "file", "deleted": True}
    assert left(folder) == []
    for gone in (client.get(path), client.get(f"{path}/content"), client.delete(path)):
        told = await gone
        assert told.status_code == 404
        assert told.json()["error"]["message"] == f"No such File object: {file['id']}"


@pytest.mark.parametrize(
    ("asked", "status", "got", "said"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-999999999", 206, b"56789", "bytes 5-9/10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
async def test_ranges(made: Made, asked: str, status: int, got: bytes | None, said: str | None) -> None:
    _, client, _ = made
    ident = (await upload(client, b"0123456789")).json()["id"]
    answer = await client.get(f"/v1/files/{ident}/content", headers={"range": asked})
    assert (answer.status_code, answer.headers.get("content-range")) == (status, said)
    assert got is None or answer.content == got


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=-0"])
async def test_who_has_all_of_it_already_is_told_how_much_there_is(made: Made, asked: str) -> None:
    _, client, _ = made
    ident = (await upload(client, b"0123456789")).json()["id"]
    answer = await client.get(f"/v1/files/{ident}/content", headers={"range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")
    assert answer.json()["error"]["code"] == "invalid_range"


async def test_a_range_of_another_file_is_the_whole_of_this_one(made: Made) -> None:
    _, client, _ = made
    path = f"/v1/files/{(await upload(client, b'0123456789')).json()['id']}/content"
    etag = (await client.get(path)).headers["etag"]
    for known, status, got in ((etag, 206, b"23"), ('"another"', 200, b"0123456789")):
        answer = await client.get(path, headers={"range": "Bytes=2-3", "if-range": known})
        assert (answer.status_code, answer.content) == (status, got)


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"limit": "0"}, "limit"), ({"limit": "x"}, "limit"), ({"order": "up"}, "order"), ({"after": "file-1"}, "after")],
)
async def test_a_page_that_there_is_not_is_refused_by_its_parameter(
    made: Made, asked: dict[str, str], param: str
) -> None:
    _, client, _ = made
    answer = await client.get("/v1/files", params=asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "invalid_value")
    assert f"'{param}'" in error["message"]


async def test_pages_are_followed_to_their_end(made: Made) -> None:
    _, client, _ = made
    idents = [(await upload(client)).json()["id"] for _ in range(5)]
    found: list[str] = []
    after: dict[str, str] = {}
    more = True
    while more:
        page = (await client.get("/v1/files", params={"limit": 2, "order": "asc", **after})).json()
        found += [file["id"] for file in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        more, after = page["has_more"], {"after": page["last_id"]}
    assert found == idents
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"after": "file-none"}):
        assert (await client.get("/v1/files", params=wrong)).status_code == 400


async def test_another_key_does_not_see_it(made: Made) -> None:
    _, client, _ = made
    path = f"/v1/files/{(await upload(client)).json()['id']}"
    bob = {"authorization": "Bearer bob"}
    assert (await client.get(path, headers=bob)).status_code == 404
    assert (await client.get(f"{path}/content", headers=bob)).status_code == 404
    assert (await client.delete(path, headers=bob)).status_code == 404
    assert (await client.get("/v1/files", headers=bob)).json()["data"] == []
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/abs/olute", "olute"),
        ("..", "upload"),
        ("a/", "upload"),
        ("nul\0l\nand\rlines\x1b[31m", "nul l and lines [31m"),
        ("x" * 5000, None),
        ("schön 日本.txt", "schön 日本.txt"),
        ('quo"te.txt', 'quo"te.txt'),
    ],
)
async def test_a_name_leads_nowhere(made: Made, name: str, kept: str | None) -> None:
    _, client, folder = made
    boundary = "b0undary"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').encode()
    if any(c in name for c in "\0\n\r"):
        answer = await raw(client, boundary, [(b'name="file"; filename="%b"' % escaped, b"x"), PURPOSE])
        assert answer.status_code == 400  # such a header is none
        assert left(folder) == []
        return
    answer = await raw(client, boundary, [(b'name="file"; filename="%b"' % escaped, b"x"), PURPOSE])
    if kept is None:
        assert answer.status_code == 400  # longer than any header of a part may be
        return
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert file["filename"] == kept
    assert left(folder) == [file["id"]]
    content = await client.get(f"/v1/files/{file['id']}/content")
    assert content.status_code == 200
    assert "\n" not in content.headers["content-disposition"]


PURPOSE = (b'name="purpose"', b"user_data")
FILE = (b'name="file"; filename="a.txt"', b"hello")


async def raw(
    client: httpx.AsyncClient, boundary: str, parts: list[tuple[bytes, bytes]], end: bytes = b"--"
) -> httpx.Response:
    marker = b"--" + boundary.encode()
    body = b"".join(b"%b\r\ncontent-disposition: form-data; %b\r\n\r\n%b\r\n" % (marker, *part) for part in parts)
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return await client.post("/v1/files", content=body + marker + end + b"\r\n", headers=headers)


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        pytest.param([FILE], "purpose", id="no purpose"),
        pytest.param([PURPOSE], "file", id="no file"),
        pytest.param([FILE, (b'name="purpose"', b"fun")], "purpose", id="a purpose that is none"),
        pytest.param([FILE, (b'name="purpose"', b"batch_output")], "purpose", id="a purpose that is ours"),
        pytest.param([PURPOSE, PURPOSE, FILE], None, id="a purpose twice"),
        pytest.param([PURPOSE, FILE, FILE], None, id="a file twice"),
        pytest.param([PURPOSE, (b'name="file"', b"hello")], None, id="a file without a name"),
        pytest.param([FILE, (b'name="purpose"; filename="p"', b"batch")], None, id="a purpose that is a file"),
        pytest.param([PURPOSE, FILE, (b'name="other"; filename="p"', b"")], None, id="another file"),
        pytest.param([PURPOSE, (b'filename="p"', b"")], None, id="a part without a name"),
        pytest.param([PURPOSE, FILE, (b'name="x"', b"y" * 5000)], None, id="a field too long"),
        pytest.param([FILE, (b'name="purpose"', b"\xff\xfe")], None, id="a field that is no text"),
        pytest.param([PURPOSE, FILE, *((b'name="f%d"' % n, b"") for n in range(30))], None, id="too many fields"),
        pytest.param(
            [PURPOSE, FILE, (b'name="expires_after[seconds]"', b"7200")], "expires_after[anchor]", id="no anchor"
        ),
        *(
            pytest.param(
                [
                    PURPOSE,
                    FILE,
                    (b'name="expires_after[anchor]"', b"created_at"),
                    (b'name="expires_after[seconds]"', seconds),
                ],
                "expires_after[seconds]",
                id=f"expires after {seconds!r}",
            )
            for seconds in (b"3599", b"2592001", b"x", b"-7200", "٣٦٠٠".encode())
        ),
    ],
)
async def test_forms_that_are_not_taken(made: Made, parts: list[tuple[bytes, bytes]], param: str | None) -> None:
    _, client, folder = made
    answer = await raw(client, "b", parts)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert left(folder) == []


async def test_bodies_that_are_no_forms(made: Made) -> None:
    _, client, folder = made
    for kind in ("application/json", "multipart/form-data", f"multipart/form-data; boundary={'b' * 300}"):
        answer = await client.post("/v1/files", content=b"--b\r\n", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_content_type")
    assert (await raw(client, "b", [PURPOSE, FILE], end=b"")).status_code == 400  # the end is missing
    assert left(folder) == []


async def test_a_batch_file_ends_with_jsonl(made: Made) -> None:
    _, client, folder = made
    answer = await upload(client, name="a.json")
    assert answer.status_code == 400
    message = "Invalid file format for Batch API. Must be .jsonl"
    said = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    assert answer.json() == {"error": said}
    assert left(folder) == []
    life: Any = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = (await upload(client, name="A.JSONL", **life)).json()
    assert file["expires_at"] == file["created_at"] + 3600
    stays = (await upload(client, name="a.json", purpose="user_data")).json()
    assert {"expires_at", "status_details"}.isdisjoint(stays), "left out and not null"


async def test_what_is_too_large_is_refused_by_its_length_or_where_it_gets_too_large(made: Made) -> None:
    _, client, folder = made
    told = await upload(client, bytes(4 * MIB))
    assert told.status_code == 413
    assert told.headers["connection"] == "close"
    assert told.json()["error"]["type"] == "invalid_request_error"
    batch, other = bytes(2 * MIB + 1), bytes(3 * MIB)
    assert (await upload(client, batch)).status_code == 413
    late = [(b'name="file"; filename="a.jsonl"', batch), (b'name="purpose"', b"batch")]
    assert (await raw(client, "b", late)).status_code == 413
    assert left(folder) == []
    assert (await upload(client, other, purpose="user_data")).status_code == 200


async def test_a_compressed_form_is_inflated_within_bounds(made: Made) -> None:
    _, client, folder = made
    body = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    body += b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"}

    async def post(content: bytes) -> httpx.Response:
        return await client.post("/v1/files", content=content, headers=headers)

    answer = await post(gzip.compress(body % b"hello"))
    assert (answer.status_code, answer.json()["bytes"]) == (200, 5)
    assert len(left(folder)) == 1
    assert (await post(gzip.compress(body % bytes(3 * MIB + 70_000)))).status_code == 413
    assert (await post(gzip.compress(body % bytes(50 * MOST)))).status_code == 413
    assert (await post(b"no gzip")).status_code == 400
    assert (await post(gzip.compress(body % b"hello")[:-9])).status_code == 400
    headers["content-encoding"] = "br"
    assert (await post(b"")).status_code == 415
    assert len(left(folder)) == 1


async def test_an_owner_has_only_so_many(made: Made) -> None:
    _, client, _ = made
    for _ in range(LIMITS["files_owner_count"]):
        assert (await upload(client)).status_code == 200
    answer = await upload(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "file_quota_exceeded")
