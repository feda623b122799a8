"""The credentials of an object store, as the kubelet lays them out: a file per key of the Secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError

REF = "spec.source.credentialsSecretRef"


@dataclass(frozen=True)
class Credentials:
    """Empty where the Secret has no such key."""

    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    endpoint: str = ""
    region: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see."""
        return tuple(filter(None, (self.access_key_id, self.secret_access_key, self.session_token)))


def read(folder: str | None) -> Credentials | None:
    """The credentials in `folder`; None without one. PullError with the fix where they make no sense."""
    if not folder:
        return None
    names = ("accessKeyId", "secretAccessKey", "sessionToken", "endpoint", "region")
    found = Credentials(*(_key(Path(folder) / name) for name in names))
    if bool(found.access_key_id) != bool(found.secret_access_key):
        there, missing = (
            ("accessKeyId", "secretAccessKey") if found.access_key_id else ("secretAccessKey", "accessKeyId")
        )
        raise PullError(Reason.UNAUTHORIZED, f"the Secret of {REF} has {there} and no {missing}: add the key")
    if found == Credentials():
        raise PullError(
            Reason.UNAUTHORIZED,
            f"the Secret of {REF} has none of {', '.join(names)}: add accessKeyId and secretAccessKey, and endpoint "
            "for a store of your own",
        )
    if found.endpoint and not found.endpoint.startswith(("http://", "https://")):
        raise PullError(
            Reason.UNAUTHORIZED, f"endpoint in the Secret of {REF} is no URL: write it as https://minio.example:9000"
        )
    return found


def _key(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise PullError(
            Reason.UNAUTHORIZED,
            f"key {file.name} in the Secret of {REF} cannot be read as text: store the value itself",
        ) from error
