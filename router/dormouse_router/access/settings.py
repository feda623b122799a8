"""What an operator of the router may set of access, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from dormouse_router.access.proxies import Proxies
from dormouse_router.caller import Limits

T = TypeVar("T")
OPEN, KEYS, OIDC, WORKLOADS = "open", "keys", "oidc", "serviceaccounts"
MODES = (OPEN, KEYS, OIDC, WORKLOADS)
DEFAULT, UNLIMITED = Limits(requests=100), Limits()
MEMORY = "memory"
_SERVERS = ("redis://", "rediss://", "valkey://", "valkeys://", "unix://")
_PREFIX = "DORMOUSE_ACCESS_"


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Limits as people write them: in values, in files of keys, over HTTP. Absent is the default, null is none."""

    requests_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET
    tokens_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET
    concurrent: int | msgspec.UnsetType | None = msgspec.UNSET
    enqueued_tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    storage_bytes: int | msgspec.UnsetType | None = msgspec.UNSET

    def over(self, default: Limits) -> Limits:
        """What it says, and the rest of `default`."""
        others = (default.requests, default.tokens, default.concurrent, default.enqueued, default.storage)
        return Limits(*(b if a is msgspec.UNSET else a for a, b in zip(self.asked, others, strict=True)))

    @property
    def asked(self) -> tuple[int | msgspec.UnsetType | None, ...]:
        """Its limits, in the order of `Limits`."""
        rates = (self.requests_per_minute, self.tokens_per_minute, self.concurrent)
        return (*rates, self.enqueued_tokens, self.storage_bytes)


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Of OpenID Connect. `admins` and `operators`: values of the teams claim whose holders are that."""

    issuer: str = ""
    audience: str = ""
    user_claim: str = "sub"
    teams_claim: str = "groups"
    admins: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()

    def check(self) -> None:
        """ValueError where tokens of it could not be told from anybody's."""
        url = urlsplit(self.issuer)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in ("127.0.0.1", "localhost")):
            raise ValueError(f"{_PREFIX}OIDC: issuer must be an https:// URL")
        if not self.audience:
            raise ValueError(f"{_PREFIX}OIDC: audience is missing: name the client that tokens must be made for")


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Times in seconds."""

    modes: tuple[str, ...] = (OPEN,)
    """Who may come in: anybody (`open`); whoever has a key or a password (`keys`), a token of the provider (`oidc`), or
    one of a ServiceAccount (`serviceaccounts`). Of several each is as good."""
    provider: Provider = Provider()  # noqa: RUF009 - it is frozen
    audience: str = "dormouse"
    """For which tokens of ServiceAccounts must be made."""
    workload_operators: tuple[str, ...] = ()
    """ServiceAccounts, namespace/name, that are operators; all others are users."""
    keys: str = "/etc/dormouse/keys"
    """Folder of the keys that are mounted: a folder for each Secret in it, a file for each key."""
    limits: str = field(default=MEMORY, repr=False)
    """Where limits are counted: memory, each router for itself, or the redis:// URL of a Redis or Valkey."""
    register: bool = False
    """Whether anybody may make a user for itself."""
    token_seconds: float = 3600.0
    """How long a token is good that was given for a password."""
    pepper: str = field(default="", repr=False)
    """A secret beside the store: with it a copy of the store cannot even tell whether some text is a key of it."""
    key_limits: Limits = DEFAULT
    """Of a key that says nothing else, and of an address that calls without one in mode `open`."""
    proxies: tuple[str, ...] = ()
    """Networks of the proxies before the router, whose X-Forwarded-For is believed."""
    user_limits: Limits = UNLIMITED
    """Of all keys of one user together."""
    teams: Mapping[str, Limits] = field(default_factory=dict)
    """Of all keys of one team together."""
    models: Mapping[str, Limits] = field(default_factory=dict)
    """Of a model, all its callers together, by its name (`*` is any text). Only requests and tokens."""

    @property
    def guarded(self) -> bool:
        """Whether it is asked who comes."""
        return self.modes != (OPEN,)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "AccessSettings":
        """ValueError with the variable's name where a value is not usable."""
        default = cls()
        modes, provider = _modes(env.get(f"{_PREFIX}MODES", "")) or default.modes, _said(env, "OIDC", Provider)
        if OIDC in modes:
            provider.check()
        return cls(
            modes=modes,
            provider=provider,
            audience=env.get(f"{_PREFIX}AUDIENCE", "") or default.audience,
            workload_operators=tuple(filter(None, env.get(f"{_PREFIX}WORKLOAD_OPERATORS", "").split(","))),
            keys=env.get(f"{_PREFIX}KEYS", "") or default.keys,
            limits=_place(env.get(f"{_PREFIX}LIMITS", "")) or default.limits,
            register=_allowed(env.get(f"{_PREFIX}REGISTER", "")),
            token_seconds=_seconds(env.get(f"{_PREFIX}TOKEN_SECONDS", "")) or default.token_seconds,
            pepper=env.get(f"{_PREFIX}PEPPER", ""),
            proxies=_proxies(env.get(f"{_PREFIX}PROXIES", "")),
            key_limits=_said(env, "KEY_LIMITS", Allowance).over(default.key_limits),
            user_limits=_said(env, "USER_LIMITS", Allowance).over(default.user_limits),
            teams=_by_name(env, "TEAMS"),
            models=_by_name(env, "MODELS"),
        )


def _modes(text: str) -> tuple[str, ...]:
    modes = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    wrong = [mode for mode in modes if mode not in MODES]
    if wrong:
        raise ValueError(f"{_PREFIX}MODES={text!r} names {wrong[0]!r}: it takes {', '.join(MODES)}")
    return modes


def _proxies(text: str) -> tuple[str, ...]:
    networks = tuple(word.strip() for word in text.split(",") if word.strip())
    try:
        Proxies(networks)
    except ValueError as error:
        raise ValueError(f"{_PREFIX}PROXIES={text!r}: {error}: name networks such as 10.0.0.0/8") from None
    return networks


def _allowed(text: str) -> bool:
    if text not in ("", "Allowed", "Forbidden"):
        raise ValueError(f"{_PREFIX}REGISTER={text!r}: it takes Allowed or Forbidden")
    return text == "Allowed"


def _seconds(text: str) -> float:
    if text and not text.isdigit():
        raise ValueError(f"{_PREFIX}TOKEN_SECONDS={text!r} is no number of seconds")
    return float(text or 0)


def _place(url: str) -> str:
    """It may hold a password: it is not told."""
    if url in ("", MEMORY) or (url.startswith(_SERVERS) and url not in _SERVERS):
        return url
    raise ValueError(f"{_PREFIX}LIMITS must be {MEMORY}, or begin with one of {', '.join(_SERVERS)}")


def _by_name(env: Mapping[str, str], name: str) -> dict[str, Limits]:
    return {key: each.over(UNLIMITED) for key, each in _said(env, name, dict[str, Allowance]).items()}


def _said(env: Mapping[str, str], name: str, kind: type[T]) -> T:
    """A value of JSON."""
    try:
        return msgspec.json.decode(env.get(_PREFIX + name, "") or "{}", type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{_PREFIX}{name} is not usable: {error}") from None
