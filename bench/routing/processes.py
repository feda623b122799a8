"""Processes of the bench: started on a core of their own, watched through /proc, ended by their id."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template

from bench.routing.bodies import answer

TICK = os.sysconf("SC_CLK_TCK")
NGINX_PROXY = Template("""
    upstream engine { server 127.0.0.1:$engine; keepalive 1024; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:$port backlog=4096 reuseport;
        location / {
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
""")
NGINX_ENGINE = Template("""
    server {
        listen 127.0.0.1:$port backlog=4096 reuseport;
        location / { default_type application/json; return 200 '$answer'; }
    }
""")
NGINX = Template("""
daemon off; master_process off; pid $folder/pid; error_log $folder/error.log; worker_rlimit_nofile 65536;
events { worker_connections 16384; multi_accept on; }
http {
    access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 300s;
    client_max_body_size 64m; client_body_buffer_size 1m;
    client_body_temp_path $folder/a; proxy_temp_path $folder/b; fastcgi_temp_path $folder/c;
    uwsgi_temp_path $folder/d; scgi_temp_path $folder/e;
    $server
}
""")


class BenchError(Exception):
    """The bench cannot run; the message says what to do."""


class Process:
    """A process pinned to one core."""

    def __init__(self, argv: list[str], core: int) -> None:
        # a function between fork and exec is safe here: the bench has one thread
        self.popen = subprocess.Popen(argv, preexec_fn=lambda: os.sched_setaffinity(0, {core}))

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def pss(self) -> int:
        """Proportional set size in bytes."""
        lines = Path(f"/proc/{self.popen.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


@contextlib.contextmanager
def running(argv: list[str], core: int, port: int) -> Iterator[Process]:
    """The process, once it listens on `port`."""
    process = Process(argv, core)
    try:
        _await_port(process, port)
        yield process
    finally:
        process.end()


def python(module: str, *arguments: object, interpreter: str = sys.executable) -> list[str]:
    """The command that runs a module of ours, with our packages whatever the interpreter."""
    ours = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    paths = os.pathsep.join([str(Path.cwd()), *ours])
    return ["env", f"PYTHONPATH={paths}", interpreter, "-m", module, *map(str, arguments)]


def nginx(folder: Path, server: str) -> list[str]:
    """The command of an nginx with one worker and this server."""
    found = shutil.which("nginx")
    if found is None:
        raise BenchError("nginx is not installed: apt-get install nginx-light")
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(NGINX.substitute(folder=folder, server=server))
    return [found, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]


def nginx_proxy(folder: Path, port: int, engine: int) -> list[str]:
    return nginx(folder, NGINX_PROXY.substitute(port=port, engine=engine))


def nginx_engine(folder: Path, port: int) -> list[str]:
    """An engine that answers every POST whole and at once, so that it is never the limit."""
    return nginx(folder, NGINX_ENGINE.substitute(port=port, answer=answer().decode()))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _await_port(process: Process, port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise BenchError(f"{process.popen.args!r} ended with {process.popen.returncode}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BenchError(f"nothing listens on port {port}: {process.popen.args!r}")
