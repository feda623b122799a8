"""Keys that are mounted as files, out of Secrets: whoever may write the Secret gives keys, by GitOps or by hand.

The router reads no Secret through the API: the kubelet writes them into a folder, `<Secret>/<name of the key>`. A file
holds the key alone, or a JSON object that says more (`KeyFile`). Files are read again when they change, which the
kubelet brings about within a minute or so of the Secret's change; a file that cannot be used is told in the log, by its
name, and the others are.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from dormouse_router.access import credential
from dormouse_router.access.grants import NAME, Grants, key_caller
from dormouse_router.access.settings import AccessSettings
from dormouse_router.caller import Caller

MOST_BYTES = 64 * 1024
MOST_FILES = 10_000
_SHA256 = re.compile("[0-9a-f]{64}")


class KeyFile(Grants, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A file of a key. One of `key` and `sha256` (of the key, in hex: then the Secret itself opens nothing)."""

    key: str | None = None
    sha256: str | None = None
    user: str | None = None
    """Whose it is: keys of one user see the same files, responses, batches."""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileKey:
    """A key that may come in until `expires`, seconds since the epoch."""

    caller: Caller
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """What a folder holds. `faults`: sentences, without anything secret."""

    keys: dict[bytes, FileKey]
    faults: tuple[str, ...]


def read_keys(folder: Path, settings: AccessSettings) -> Read:
    """All keys below `folder`, by their `credential.digest`. It is no fault that there is no folder."""
    keys: dict[bytes, FileKey] = {}
    faults = []
    for number, path in enumerate(_files(folder)):
        name = f"{path.parent.name}/{path.name}"
        if number == MOST_FILES:
            faults.append(f"there are more than {MOST_FILES} keys: those from {name} on are not taken")
            break
        try:
            looked_up, key = parsed(_text(path), name, settings)
            if looked_up in keys:
                raise ValueError(f"it is the same key as {keys[looked_up].caller.key_id}")
            keys[looked_up] = key
        except (OSError, ValueError) as error:
            faults.append(f"the key {name} is not taken: {error}")
    return Read(keys, tuple(faults))


def signature(folder: Path) -> tuple[object, ...]:
    """Something that is another when a file below `folder` is."""
    seen: list[object] = []
    for path in _files(folder):
        try:
            stat = path.stat()
        except OSError:
            continue  # it goes just now: the next look tells
        seen.append((path.parent.name, path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(seen)


def parsed(text: str, name: str, settings: AccessSettings) -> tuple[bytes, FileKey]:
    """What a file called `name` says. ValueError, whose words hold nothing of the key."""
    said = _said(text)
    said.check()
    if said.user is not None and not NAME.fullmatch(said.user):
        raise ValueError("its user must be letters and digits, with . _ @ - in between")
    if said.expires is not None and said.expires.tzinfo is None:
        raise ValueError("its expiry has no time zone: write it as 2030-01-31T00:00:00Z")
    ident = f"key:{name}"
    who = ident if said.user is None else f"user:{said.user}"
    caller = key_caller(who, who, ident, said, settings)
    return _looked_up(said), FileKey(caller, None if said.expires is None else said.expires.timestamp())


def _said(text: str) -> KeyFile:
    text = text.strip()
    if not text.startswith("{"):
        return KeyFile(key=text)
    try:
        return msgspec.json.decode(text, type=KeyFile)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None  # names a field, and no value
    except msgspec.DecodeError:
        raise ValueError("it begins with { and is no JSON") from None


def _looked_up(said: KeyFile) -> bytes:
    if (said.key is None) == (said.sha256 is None):
        raise ValueError('it must have one of "key" and "sha256"')
    if said.sha256 is not None:
        if not _SHA256.fullmatch(said.sha256):
            raise ValueError("its sha256 is not 64 hex digits in lower case")
        return bytes.fromhex(said.sha256)
    key = said.key or ""
    if len(key) < credential.LEAST or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(
            f"a key must have at least {credential.LEAST} characters of ASCII without spaces, best random ones: "
            "`openssl rand -hex 32` makes one"
        )
    return hashlib.sha256(key.encode()).digest()


def _files(folder: Path) -> Iterator[Path]:
    """Of every Secret that is mounted; the kubelet's own entries begin with two dots."""
    if not folder.is_dir():
        return
    for secret in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        yield from sorted(each for each in secret.iterdir() if each.is_file() and not each.name.startswith("."))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None
