"""One of several processes that bring a database up to date at the same time: `migrating.py URL`.

Says "ready", waits for a line, and says last whether it was the one that had work to do.
"""

import asyncio
import sys

from dormouse_router.store.database import Database


async def main(url: str) -> None:
    database = Database(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    sys.stdout.write("worked\n" if await database.prepare() else "idle\n")
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
