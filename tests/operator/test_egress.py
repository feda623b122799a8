"""How inspect and pull pods reach the outside: what the operator is told, and what it tells them."""

import pytest

from dormouse_operator.settings import Settings, SettingsError

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
IMAGE = {"DORMOUSE_PULLER_IMAGE": "puller:1"}


def test_nothing_set_is_nothing_told() -> None:
    assert Settings.from_environment(IMAGE).egress.environment() == {}


def test_what_is_set_reaches_the_pods() -> None:
    env = {
        "DORMOUSE_PULL_BANDWIDTH": "50M",
        "DORMOUSE_PULL_CA_CERTIFICATES": PEM + "\n",
        "DORMOUSE_PULL_HTTP_PROXY": "http://proxy:3128",
        "DORMOUSE_PULL_HTTPS_PROXY": "http://proxy:3129",
        "DORMOUSE_PULL_NO_PROXY": "hub.example,.svc",
    }
    assert Settings.from_environment(IMAGE | env).egress.environment() == {
        "DORMOUSE_MAX_BYTES_PER_SECOND": "50000000",
        "DORMOUSE_CA_CERTIFICATES": PEM,
        "HTTP_PROXY": "http://proxy:3128",
        "HTTPS_PROXY": "http://proxy:3129",
        "NO_PROXY": "hub.example,.svc",
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DORMOUSE_PULL_BANDWIDTH", "fast", "write it as 10Gi or 500M, in bytes a second"),
        ("DORMOUSE_PULL_BANDWIDTH", "1k", "set 64k bytes a second or more"),
        ("DORMOUSE_PULL_CA_CERTIFICATES", "/etc/ca.pem", "give it the authority's certificate, not its name"),
        ("DORMOUSE_PULL_CA_CERTIFICATES", PEM * 5000, "give it your own authorities only"),
        ("DORMOUSE_PULL_HTTPS_PROXY", "http://user:secret@proxy", "use a proxy without one"),
        ("DORMOUSE_PULL_HTTP_PROXY", "proxy:3128", "http://proxy.example:3128"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(IMAGE | {name: value})
    assert name in str(refused.value)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)
