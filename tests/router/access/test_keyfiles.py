"""Keys out of mounted Secrets: what a file may say, and that a change of it counts."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dormouse_router.access.credential import digest, new_key, sealed, shown, without_key
from dormouse_router.access.keyfiles import parsed, read_keys
from dormouse_router.access.mounted import MountedKeys
from dormouse_router.access.settings import AccessSettings
from dormouse_router.caller import Caller, Limits, Role

KEY = "correct-horse-battery-staple-1"
SETTINGS = AccessSettings(modes=("keys",), teams={"red": Limits(tokens=5000)}, user_limits=Limits(requests=300))
NOW = 1_700_000_000.0


def mount(folder: Path, secret: str, files: dict[str, str]) -> None:
    """As the kubelet does it: a new folder, and a link that is turned to it at once."""
    place = folder / secret
    place.mkdir(parents=True, exist_ok=True)
    version = place / f"..{os.urandom(4).hex()}"
    version.mkdir()
    for name, text in files.items():
        (version / name).write_text(text)
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    (place / "..new").symlink_to(version.name)
    (place / "..new").rename(place / "..data")


def test_a_file_may_be_the_key_alone() -> None:
    looked_up, key = parsed(f"{KEY}\n", "team-a/ci", SETTINGS)
    assert looked_up == digest(KEY.encode())
    assert key.expires is None
    assert key.caller == Caller(
        "key:team-a/ci",
        "key:team-a/ci",
        Role.USER,
        "key",
        key_id="key:team-a/ci",
        limits={"key:team-a/ci": Limits(requests=100)},
    )


def test_a_file_may_say_more() -> None:
    said = {
        "sha256": hashlib.sha256(KEY.encode()).hexdigest(),
        "role": "operator",
        "user": "alice@example.com",
        "teams": ["red", "blue"],
        "scopes": ["files"],
        "models": ["team/*"],
        "expires": "2030-01-01T00:00:00Z",
        "requestsPerMinute": None,
        "concurrent": 4,
        "storageBytes": 5_000_000_000,
    }
    looked_up, key = parsed(json.dumps(said), "a/b", SETTINGS)
    assert looked_up == digest(KEY.encode())
    assert key.expires == 1_893_456_000.0
    assert key.caller == Caller(
        "user:alice@example.com",
        "user:alice@example.com",
        Role.OPERATOR,
        "key",
        frozenset({"red", "blue"}),
        "key:a/b",
        frozenset({"files"}),
        ("team/*",),
        {
            "key:a/b": Limits(concurrent=4, storage=5_000_000_000),
            "user:alice@example.com": Limits(requests=300),
            "team:red": Limits(None, 5000),
        },
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("short", "at least 24 characters"),
        (f"{KEY} with spaces", "without spaces"),
        (json.dumps({"role": "user"}), 'one of "key" and "sha256"'),
        (json.dumps({"key": KEY, "sha256": "0" * 64}), 'one of "key" and "sha256"'),
        (json.dumps({"sha256": "ABC"}), "64 hex digits"),
        (json.dumps({"key": KEY, "role": "god"}), "is none of user, operator, admin"),
        (json.dumps({"key": KEY, "scopes": ["all"]}), "no scope 'all'"),
        (json.dumps({"key": KEY, "teams": ["a b"]}), "letters and digits"),
        (json.dumps({"key": KEY, "expires": "2030-01-01T00:00:00"}), "no time zone"),
        (json.dumps({"key": KEY, "rol": "user"}), "unknown field `rol`"),
        (json.dumps({"key": KEY, "concurrent": KEY}), "Expected `int | null`"),
        (json.dumps({"key": KEY, "storageBytes": -1}), "a limit is negative"),
        ("{" + KEY, "is no JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_without_its_key(text: str, words: str) -> None:
    with pytest.raises(ValueError) as wrong:
        parsed(text, "a/b", SETTINGS)
    assert words in str(wrong.value)
    assert KEY not in str(wrong.value)


async def test_keys_come_and_go_with_their_secret(tmp_path: Path) -> None:
    told = []
    mount(tmp_path, "team-a", {"ci": KEY})
    keys = MountedKeys(AccessSettings(modes=("keys",), keys=str(tmp_path)), lambda: told.append(1))
    await keys.look()
    found = keys.at_once(digest(KEY.encode()), NOW)
    assert found is not None
    assert found.caller.id == "key:team-a/ci"
    await keys.look()
    assert len(told) == 1, "nothing has changed"
    mount(tmp_path, "team-a", {"ci": KEY[::-1]})
    await keys.look()
    assert len(told) == 2
    assert keys.at_once(digest(KEY.encode()), NOW) is None
    assert keys.at_once(digest(KEY[::-1].encode()), NOW) is not None


async def test_one_bad_file_takes_no_other_with_it_and_is_told_once(tmp_path: Path) -> None:
    mount(tmp_path, "a", {"bad": "secret", "good": KEY})
    mount(tmp_path, "b", {"twin": KEY, "huge": "x" * 70_000})
    with capture_logs() as logs:
        keys = MountedKeys(AccessSettings(modes=("keys",), keys=str(tmp_path)))
        await keys.look()
        mount(tmp_path, "a", {"bad": "secret", "good": KEY})
        await keys.look()
    faults = [each["event"] for each in logs if each["log_level"] == "error"]
    assert len(faults) == 3
    assert "the key a/bad is not taken: a key must have" in faults[0]
    assert "it is larger than" in faults[1]
    assert faults[2] == "the key b/twin is not taken: it is the same key as key:a/good"
    assert not any(KEY in str(each) or "'secret'" in str(each) for each in logs)
    assert len(keys) == 1


async def test_a_key_ends_when_its_file_says_so(tmp_path: Path) -> None:
    mount(tmp_path, "a", {"b": json.dumps({"key": KEY, "expires": "2023-11-14T22:13:30Z"})})  # NOW and 10 s
    keys = MountedKeys(AccessSettings(modes=("keys",), keys=str(tmp_path)))
    await keys.look()
    found = keys.at_once(digest(KEY.encode()), NOW)
    assert found is not None
    assert found.until == NOW + 10
    assert keys.at_once(digest(KEY.encode()), NOW + 10) is None


def test_a_folder_that_is_not_there_holds_no_key(tmp_path: Path) -> None:
    assert read_keys(tmp_path / "none", SETTINGS) == read_keys(tmp_path, SETTINGS)


def test_keys_are_long_and_lists_show_little_of_them() -> None:
    key = new_key()
    assert key != new_key()
    assert len(key) >= 43
    assert key.startswith(shown(key))
    assert len(shown(key)) == 11
    assert shown("some-key-of-somebody") == ""
    assert sealed(digest(key.encode()), b"one") != sealed(digest(key.encode()), b"other")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (b"/key/abc/api/chat?x=1", (b"abc", b"/api/chat?x=1")),
        (b"/key/abc/", (b"abc", b"/")),
        (b"/key/abc", (b"abc", b"/")),
        (b"/key/abc?x=1", (b"abc", b"/?x=1")),
        (b"/key//api/chat", None),
        (b"/key/", None),
        (b"/api/chat", None),
    ],
)
def test_a_key_may_be_in_the_path(url: bytes, parts: tuple[bytes, bytes] | None) -> None:
    assert without_key(url) == parts
