"""The pull Job's settings, read once from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_api.names import MODELS_DIR, PORT_ADMIN, SOURCE_DIR, TERMINATION_LOG
from dormouse_api.source import SOURCE_PATTERN
from dormouse_runtime.pull import credentials
from dormouse_runtime.pull.credentials import Credentials
from dormouse_runtime.pull.errors import PullError

DEFAULT_ENDPOINT = "https://huggingface.co"
HUB, STORE, CLAIM = "hf://", "s3://", "pvc://"


@dataclass(frozen=True)
class Settings:
    """What to pull, from where, to where, and how patiently."""

    source: str
    """hf://ORG/NAME, s3://BUCKET/PATH or pvc://CLAIM/PATH."""
    revision: str = "main"
    commit: str | None = None
    """Pinned by inspect; without it fetch resolves the revision itself."""
    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = field(default=None, repr=False)
    credentials: Credentials | None = None
    """Of an object store; None: the pod's own identity, or none at all."""
    source_dir: Path = Path(SOURCE_DIR)
    """Where the claim of a pvc:// source is mounted."""
    ca_certificates: str = ""
    """PEM of authorities to trust beside the public ones."""
    models: Path = Path(MODELS_DIR)
    termination_log: Path = Path(TERMINATION_LOG)
    progress_port: int = PORT_ADMIN
    """0: no progress endpoint."""
    stall_seconds: float = 60.0
    """No byte for so long, over all connections: the pull gives up."""
    max_bytes_per_second: int = 0
    """0: unlimited."""
    backoff_seconds: float = 1.0
    """First wait after a failure; each further one without progress doubles it."""

    @property
    def place(self) -> str:
        """The source without its scheme."""
        return self.source.partition("://")[2]

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see."""
        return (*filter(None, (self.token,)), *(self.credentials.secrets if self.credentials else ()))

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """From the environment; a missing or senseless value is a PullError that names the variable."""
        return cls(
            source=_source(environ.get("DORMOUSE_SOURCE", "")),
            revision=environ.get("DORMOUSE_REVISION") or "main",
            commit=environ.get("DORMOUSE_COMMIT") or None,
            endpoint=(environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"),
            token=_token(environ.get("DORMOUSE_TOKEN_FILE")),
            credentials=credentials.read(environ.get("DORMOUSE_CREDENTIALS_DIR")),
            source_dir=Path(environ.get("DORMOUSE_SOURCE_DIR") or SOURCE_DIR),
            ca_certificates=environ.get("DORMOUSE_CA_CERTIFICATES", ""),
            models=Path(environ.get("DORMOUSE_MODELS_DIR") or MODELS_DIR),
            termination_log=termination_log(environ),
            progress_port=int(_number(environ, "DORMOUSE_PROGRESS_PORT", PORT_ADMIN, 0)),
            stall_seconds=_number(environ, "DORMOUSE_STALL_SECONDS", 60, 0.1),
            max_bytes_per_second=int(_number(environ, "DORMOUSE_MAX_BYTES_PER_SECOND", 0, 0)),
            backoff_seconds=_number(environ, "DORMOUSE_BACKOFF_SECONDS", 1, 0.0),
        )


def termination_log(environ: Mapping[str, str]) -> Path:
    """Where the kubelet reads the result; known even when nothing else in the environment is right."""
    return Path(environ.get("DORMOUSE_TERMINATION_LOG") or TERMINATION_LOG)


def _source(source: str) -> str:
    if re.fullmatch(SOURCE_PATTERN, source):
        return source
    raise PullError(
        Reason.UNSUPPORTED,
        f"source {source!r} cannot be pulled: set spec.source.uri to hf://ORG/NAME, s3://BUCKET/PATH or pvc://CLAIM/PATH",
    )


def _token(file: str | None) -> str | None:
    if not file:
        return None
    try:
        return Path(file).read_text().strip() or None
    except OSError as error:
        raise PullError(
            Reason.UNAUTHORIZED,
            f"the token file cannot be read ({error.strerror}): check that the Secret and key of "
            "spec.source.tokenSecretRef exist",
        ) from error
    except ValueError as error:
        raise PullError(Reason.UNAUTHORIZED, "the token's Secret does not hold text: store the token itself") from error


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise PullError(Reason.UNSUPPORTED, f"{name}={text!r} must be a number of at least {least:g}")
    return value
