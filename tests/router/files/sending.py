"""Upload so many bytes to a router, and say what came of it: `python -m tests.router.files.sending URL BYTES`."""

import os
import sys
from collections.abc import Iterator

import httpx


def form(size: int) -> Iterator[bytes]:
    yield b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="large"\r\n\r\n'
    piece = os.urandom(256 * 1024)
    for _ in range(size // len(piece)):
        yield piece
    yield b"\r\n--b--\r\n"


if __name__ == "__main__":
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{sys.argv[1]}/v1/files", content=form(int(sys.argv[2])), headers=headers, timeout=120)
    print(answer.status_code, answer.json().get("bytes"))  # noqa: T201
