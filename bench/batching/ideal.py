"""The ideal client: an engine asked directly, as many requests at once as it bears, nothing read, kept or checked.

python -m bench.batching.ideal PORT FILE CONCURRENCY prints the seconds that all lines of FILE took.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import msgspec
import uvloop

from dormouse_router.dataplane.connection import Connection

JSON = b"POST %b HTTP/1.1\r\nhost: e\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class _Line(msgspec.Struct):
    url: str
    body: msgspec.Raw


def requests(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """(head, body) of each line."""
    decode = msgspec.json.Decoder(_Line).decode
    for line in file.read_bytes().splitlines():
        told = decode(line)
        body, url = bytes(told.body), told.url.encode()
        yield JSON % (url, len(body)), body


async def main(port: int, file: Path, concurrency: int) -> None:
    asked = list(requests(file))
    todo = iter(asked)
    loop = asyncio.get_running_loop()

    async def work() -> None:
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        for head, body in todo:
            flow = connection.send(head, body)
            await flow.head()
            await flow.body()
            if flow.status != HTTPStatus.OK:
                raise SystemExit(f"the engine answers {flow.status}")
        connection.abort()

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    print(time.monotonic() - began)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
