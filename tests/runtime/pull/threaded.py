"""An HTTP server of the tests, on loopback, in a thread of its own."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[ThreadingHTTPServer]:
    """A server with a port and nobody who answers yet; over TLS where there is a context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    try:
        yield server
    finally:
        server.server_close()


@contextlib.contextmanager
def answering(server: ThreadingHTTPServer, handler: type[BaseHTTPRequestHandler]) -> Iterator[None]:
    """Meanwhile `handler` answers what the server is asked."""
    server.RequestHandlerClass = handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
