"""`python -m dev.hub ROOT`: serve the folder of repositories until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from pathlib import Path

from dev.hub.server import make_server

PORT = 8900


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.hub", description="A stand-in for the model hub.")
    parser.add_argument("root", type=Path, help="folder that holds ORG/NAME/...")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="do not print a line per request")
    options = parser.parse_args()
    if not options.root.is_dir():
        parser.error(f"{options.root} is no folder: `python -m dev.models` makes the sample models and prints theirs")
    with tempfile.TemporaryDirectory() as scratch:
        address = (options.host, options.port)
        server = make_server(options.root, Path(scratch), address, verbose=not options.quiet)
        for number in (signal.SIGINT, signal.SIGTERM):
            # shutdown() waits for the loop below, so it must not run in the loop's own thread
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"model hub on http://{options.host}:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        finally:
            server.server_close()


if __name__ == "__main__":
    main()
