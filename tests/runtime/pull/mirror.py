"""What stands between a pull and its source: a mirror with a path and a private authority, and a forward proxy."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.runtime.pull.threaded import answering, listening

PREFIX = "/artifacts/hub"


@dataclass(frozen=True)
class Authority:
    """A private authority: what to trust, and the one server certificate that it has signed, for 127.0.0.1."""

    certificate: str
    server: Path

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        return context


def authority(folder: Path) -> Authority:
    """A new one."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "private authority")])
    root = (
        _certificate(name, name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirror")])
    leaf = (
        _certificate(subject, name, key.public_key())
        .add_extension(here, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    server = folder / "server.pem"
    server.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + secret)
    return Authority(root.public_bytes(serialization.Encoding.PEM).decode(), server)


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


@dataclass
class Passed:
    """A running middleman, and what it let through."""

    url: str
    behind: str
    renames: bool
    """Whether it asks by the name of the server behind it, not by its own."""
    paths: list[str] = field(default_factory=list)


@contextlib.contextmanager
def between(behind: str, context: ssl.SSLContext | None = None, *, renames: bool = True) -> Iterator[Passed]:
    """Passes requests on to the server at the URL `behind`: those below PREFIX, and those of a proxy's clients.

    Like many mirrors it passes on links and redirects as they are, with the address of the server behind it.
    """
    scheme = "http" if context is None else "https"
    with listening(context) as server:
        passed = Passed(f"{scheme}://127.0.0.1:{server.server_port}", behind, renames)
        with answering(server, type("Middleman", (_Handler,), {"passed": passed})):
            yield passed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    passed: Passed

    def do_GET(self) -> None:
        self.passed.paths.append(self.path)
        url = urlsplit(self.path)
        path = (url.path if url.netloc else self.path).removeprefix(PREFIX) + (f"?{url.query}" if url.netloc else "")
        asked = http.client.HTTPConnection(urlsplit(self.passed.behind).netloc, timeout=30)
        with contextlib.closing(asked):
            kept = {} if self.passed.renames else {"Host": self.headers["Host"]}
            more = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            asked.request("GET", path.rstrip("?"), headers=more | kept)
            answer = asked.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Not wanted."""
