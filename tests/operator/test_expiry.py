"""When credentials end: read from what is there, silent about what is not."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry, generate_latest

from dormouse_api import metrics as names
from dormouse_operator.expiry import Expiries, of_authorities, of_token

ENDS = datetime(2031, 5, 1, tzinfo=UTC)


def token(**claims: object) -> str:
    parts = (json.dumps({"alg": "RS256"}).encode(), json.dumps(claims).encode(), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def authority(ends: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"until {ends.year}")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (token(exp=1_900_000_000, iss="kubernetes"), 1_900_000_000.0),
        (token(iss="kubernetes"), None),
        (token(exp="soon"), None),
        (token(exp=True), None),
        ("a.b", None),
        ("a.!!!.c", None),
        ("", None),
    ],
)
def test_a_token_says_when_it_ends(text: str, ends: float | None) -> None:
    assert of_token(text) == ends


def test_the_first_authority_to_end_counts() -> None:
    both = authority(ENDS) + authority(ENDS + timedelta(days=90))
    assert of_authorities(both) == ENDS.timestamp()


@pytest.mark.parametrize("pem", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_authority_tells_nothing(pem: str) -> None:
    assert of_authorities(pem) is None


def test_a_renewed_token_is_told_and_none_of_its_words(tmp_path: Path) -> None:
    place, registry = tmp_path / "token", CollectorRegistry()
    registry.register(Expiries(authority(ENDS), place))

    def ends(credential: str) -> float | None:
        return registry.get_sample_value(names.CREDENTIAL_EXPIRY, {"credential": credential})

    assert ends("service-account") is None
    place.write_text(token(exp=1_900_000_000))
    assert (ends("service-account"), ends("pull-authority")) == (1_900_000_000.0, ENDS.timestamp())
    place.write_text(token(exp=1_900_003_600))
    assert ends("service-account") == 1_900_003_600.0
    assert place.read_text() not in generate_latest(registry).decode()
