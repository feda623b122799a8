"""nginx as the native floor: a proxy in front of an engine, and an engine that is always ready."""

import shutil
from pathlib import Path
from string import Template

from bench.routing.bodies import answer
from bench.routing.processes import BenchError

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
    access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 3600s;
    client_max_body_size 64m; client_body_buffer_size 1m;
    client_body_temp_path $folder/a; proxy_temp_path $folder/b; fastcgi_temp_path $folder/c;
    uwsgi_temp_path $folder/d; scgi_temp_path $folder/e;
    $server
}
""")


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
