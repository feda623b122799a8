"""Which URLs and addresses may be called for somebody else: tables of what is refused, and of what is not."""

from ipaddress import ip_address

import pytest

from dormouse_router.webhooks.receivers import Receivers, UrlError

PUBLIC = Receivers()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://hooks.example/", "https://"),
        ("hooks.example/a", "https://"),
        ("//hooks.example/a", "https://"),
        ("", "characters"),
        ("http://hooks.example/", "https://"),
        ("https:///a", "host name"),
        ("https://user:secret@hooks.example/", "user or a password"),
        ("https://hooks.example@127.0.0.1/", "user or a password"),
        ("https://hooks.example:22/", "port 22"),
        ("https://hooks.example:0/", "port 0"),
        ("https://hooks.example:99999/", "no URL"),
        ("https://hooks.example:four/", "no URL"),
        ("https://hooks example/", "characters"),
        ("https://hooks.example\\@127.0.0.1/", "characters"),
        ("https://hooks.example\r\nhost: a/", "characters"),
        ("https://ⓛocalhost/", "characters"),
        ("https://hooks。example/", "characters"),
        ("https://" + "a" * 3000 + ".example/", "longer"),
        ("https://-a.example/", "host name"),
        ("https://a..example/", "host name"),
        ("https://localhost/", "no name of the public internet"),
        ("https://localhost./", "no name of the public internet"),
        ("https://kubernetes/", "no name of the public internet"),
        # an address in any of the forms that a resolver understands
        ("https://127.0.0.1/", "the router itself"),
        ("https://127.0.0.1./", "the router itself"),
        ("https://2130706433/", "write it as"),
        ("https://0x7f000001/", "write it as"),
        ("https://0x7f.0.0.1/", "write it as"),
        ("https://0177.0.0.1/", "write it as"),
        ("https://127.1/", "write it as"),
        ("https://127.0.0.01/", "write it as"),
        ("https://hooks.example.1/", "write it as"),
        ("https://0.0.0.0/", "of no host"),
        ("https://10.1.2.3/", "private"),
        ("https://172.16.0.1/", "private"),
        ("https://192.168.1.1/", "private"),
        ("https://100.64.0.1/", "private"),
        ("https://169.254.169.254/latest/meta-data/", "metadata"),
        ("https://224.0.0.1/", "many hosts"),
        ("https://255.255.255.255/", "reserved"),
        ("https://[::1]/", "the router itself"),
        ("https://[::]/", "of no host"),
        ("https://[::ffff:127.0.0.1]/", "the router itself"),
        ("https://[::ffff:7f00:1]/", "the router itself"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://[::127.0.0.1]/", "the router itself"),
        ("https://[64:ff9b::a9fe:a9fe]/", "metadata"),
        ("https://[64:ff9b:1::1]/", "reserved"),
        ("https://[2002:7f00:1::]/", "tunnel"),
        ("https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "tunnel"),
        ("https://[fe80::1]/", "metadata"),
        ("https://[fe80::1%25eth0]/", "tunnel"),
        ("https://[fd00::1]/", "private"),
        ("https://[fec0::1]/", "private"),
        ("https://[ff02::1]/", "many hosts"),
        ("https://[2001:db8::1]/", "private"),
        ("https://[::1/", "no URL"),
        ("https://[10.0.0.1]/", "no URL"),
    ],
)
def test_what_must_not_be_called_is_refused_when_it_is_given(url: str, words: str) -> None:
    with pytest.raises(UrlError, match=words):
        PUBLIC.receiver(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "query"),
    [
        ("https://hooks.example", "hooks.example", 443, "/", ""),
        ("HTTPS://Hooks.Example:8443/a%20b?c=d&e#f", "hooks.example", 8443, "/a%20b", "c=d&e"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/", ""),
        ("https://93.184.216.34/", "93.184.216.34", 443, "/", ""),
        ("https://[2606:2800:220:1:248:1893:25c8:1946]/", "2606:2800:220:1:248:1893:25c8:1946", 443, "/", ""),
    ],
)
def test_what_is_public_is_taken_apart(url: str, host: str, port: int, path: str, query: str) -> None:
    made = PUBLIC.receiver(url)
    assert (made.host, made.port, made.path, made.query, made.trusted) == (host, port, path, query, False)


@pytest.mark.parametrize(
    ("allowed", "url", "trusted"),
    [
        ("hooks.team.svc", "http://hooks.team.svc:8080/a", True),
        ("hooks.team.svc:8080", "http://hooks.team.svc:8080/a", True),
        ("*.svc.cluster.local", "http://hooks.team.svc.cluster.local/", True),
        ("hooks", "https://hooks/", True),
        ("10.0.0.0/8", "http://10.1.2.3:9000/", False),
        ("127.0.0.1", "http://127.0.0.1:9000/", False),
        ("fd00::/8", "https://[fd00::1]/", False),
        ("10.0.0.0/8", "https://[::ffff:10.0.0.1]/", False),
    ],
)
def test_what_the_operator_allows_is_called(allowed: str, url: str, trusted: bool) -> None:
    assert Receivers([allowed]).receiver(url).trusted is trusted


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("hooks.team.svc:8080", "http://hooks.team.svc:8081/"),
        ("hooks.team.svc", "http://other.team.svc/"),
        ("*.svc", "http://svc/"),
        ("*.svc", "http://evilsvc/"),
        ("10.0.0.0/8", "http://11.0.0.1/"),
        ("10.0.0.0/8", "http://hooks.example/"),
    ],
)
def test_and_nothing_else_is(allowed: str, url: str) -> None:
    with pytest.raises(UrlError):
        Receivers([allowed]).receiver(url)


@pytest.mark.parametrize("entry", ["", "*", "*.", "10.0.0.0/99", "http://a", "a:b", "a_b c"])
def test_a_rule_that_is_none_stops_the_router(entry: str) -> None:
    with pytest.raises(ValueError, match="no receiver"):
        Receivers([entry])


def test_a_name_that_is_allowed_may_be_in_the_cluster_but_not_the_router_nor_the_link() -> None:
    for address in ("10.0.0.1", "100.64.0.1", "fd00::1", "93.184.216.34"):
        assert PUBLIC.refused(ip_address(address), trusted=True) is None
    for address in ("127.0.0.1", "::1", "169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::ffff:169.254.169.254"):
        assert PUBLIC.refused(ip_address(address), trusted=True) is not None
    assert Receivers(["127.0.0.0/8"]).refused(ip_address("127.0.0.1")) is None
