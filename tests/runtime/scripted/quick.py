"""An engine that starts in a few hundredths of a second: `python -I -S quick.py PART PORT CACHE TAG`.

It makes what engines make (a worker, a file in shared memory, compiled code in its cache) and takes away at SIGTERM
what is its own, as vLLM does. PART `stubborn` ignores SIGTERM, so that the supervisor must end it.
Imports next to nothing: five hundred of it run in one test.
"""

import os
import signal
import socket
import sys

ANSWER = b'{"server_load": 0}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(
    ANSWER
)


def main(part: str, port: int, cache: str, tag: str) -> None:
    shared = f"/dev/shm/{tag}-{os.getpid()}"
    worker = os.fork()
    if worker == 0:
        if part == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()

    def leave(number: int, frame: object) -> None:
        os.unlink(shared)  # noqa: PTH108 - pathlib takes as long to import as all else
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        os._exit(0)

    if part == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        os.open(shared, os.O_CREAT | os.O_WRONLY)  # and kept open: what nobody has open counts as left behind
        signal.signal(signal.SIGTERM, leave)
    for stage in ("importing", "loading", "warming"):
        os.write(1, b"[dormouse] stage %s\n" % stage.encode())
    kernel = os.open(f"{cache}/kernel.so", os.O_CREAT | os.O_WRONLY)
    os.write(kernel, b"compiled" * 1000)
    os.close(kernel)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    while True:
        peer = listener.accept()[0]
        peer.recv(65536)
        peer.sendall(HEAD + ANSWER)
        peer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
