"""Whose address counts: the client's, as the nearest trusted proxies tell it, and never what a client says itself."""

import pytest

from dormouse_router.access.gate import KeyGate
from dormouse_router.access.proxies import FORWARDED, MOST, Proxies
from dormouse_router.access.settings import AccessSettings
from dormouse_router.access.throttle import MOST as MOST_TRIES
from dormouse_router.request import Refusal
from tests.router.access.test_gate import Asks

NETWORKS = ("10.0.0.0/8", "192.0.2.7", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "origin"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", b"198.51.100.1", "203.0.113.9"),  # said by somebody whom nobody trusts
        ("10.1.2.3", b"198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", b"6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the client's own word comes first
        ("10.1.2.3", b"6.6.6.6, 198.51.100.1, 192.0.2.7, 10.9.9.9", "198.51.100.1"),
        ("10.1.2.3", b"10.4.4.4, 10.5.5.5", "10.4.4.4"),
        ("10.1.2.3", b"198.51.100.1:4711", "198.51.100.1"),
        ("10.1.2.3", b"[2001:db8::5]:4711", "2001:db8::5"),
        ("10.1.2.3", b"2001:db8::5", "2001:db8::5"),
        ("::ffff:10.1.2.3", b"198.51.100.1", "198.51.100.1"),
        ("fd00::1", b"::ffff:198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", b"198.51.100.1, unknown", "10.1.2.3"),
        ("10.1.2.3", b"", "10.1.2.3"),
        ("10.1.2.3", b"\xff\xfe", "10.1.2.3"),
        ("", b"198.51.100.1", ""),
        ("10.1.2.3", b",".join([b"6.6.6.6"] + [b"10.0.0.1"] * MOST), "10.0.0.1"),
    ],
)
def test_the_list_is_believed_from_its_end(peer: str, forwarded: bytes | None, origin: str) -> None:
    assert Proxies(NETWORKS).origin(peer, forwarded) == origin


def test_nobody_is_trusted_unless_named() -> None:
    assert Proxies().origin("10.1.2.3", b"198.51.100.1") == "10.1.2.3"


@pytest.mark.parametrize("networks", ["10.0.0.0/8, fd00::/8", "192.0.2.7"])
def test_they_are_set_by_name(networks: str) -> None:
    settings = AccessSettings.from_env({"DORMOUSE_ACCESS_PROXIES": networks})
    assert ", ".join(settings.proxies) == networks


@pytest.mark.parametrize("wrong", ["ingress.example", "10.0.0.1/8", "10.0.0.0/33"])
def test_what_is_no_network_is_refused_with_the_fix(wrong: str) -> None:
    with pytest.raises(ValueError, match="DORMOUSE_ACCESS_PROXIES"):
        AccessSettings.from_env({"DORMOUSE_ACCESS_PROXIES": wrong})


async def test_who_guesses_behind_a_proxy_keeps_nobody_else_waiting() -> None:
    gate = KeyGate(AccessSettings(modes=("keys",), proxies=("10.0.0.0/8",)), [])

    async def guess(number: int, client: str) -> int:
        asked = Asks(f"dm-guess-{number}", headers={FORWARDED: client.encode()})
        try:
            passed = gate.enter(asked) or await gate.ask(asked)
        except Refusal as refusal:
            return refusal.status
        raise AssertionError(f"{passed.caller} came in")

    assert [await guess(number, "6.6.6.6") for number in range(MOST_TRIES + 1)] == [401] * MOST_TRIES + [429]
    assert await guess(100, "198.51.100.1") == 401
