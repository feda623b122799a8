"""What the operator is told by its environment, read once. Knows nothing of clusters or models."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dormouse_api.names import PORT_OPS
from dormouse_api.tracing import TRACES_ENDPOINT, wanted
from dormouse_operator.egress import Egress, EgressError

Q4_THRESHOLD_BYTES = 14_000_000_000
TURN_SECONDS = 10
COOLDOWN_SECONDS = 300
MAX_CONCURRENT_PULLS = 2
RECHECK_SECONDS = 300
ELECTION_SECONDS = 15


class SettingsError(ValueError):
    """An environment variable is missing or wrong; the message says which and how to set it."""


@dataclass(frozen=True)
class Settings:
    """Frozen for the life of the process and handed down; seconds throughout."""

    puller_image: str
    namespaces: tuple[str, ...] = ()
    """Namespaces to serve; empty: all."""
    hub_endpoint: str = ""
    """Base URL of a mirror of the model hub; empty: the public one."""
    image_pull_policy: str = "IfNotPresent"
    """Of the inspect and pull pods; runtime pods obey their profile."""
    default_profile: str = "cpu"
    router_ops: str = ""
    """host:port of the headless Service over the routers' ops ports; empty: demand is not polled."""
    q4_threshold_bytes: int = Q4_THRESHOLD_BYTES
    """Bytes of weights above which `quantization: auto` makes an int4 copy."""
    turn_seconds: int = TURN_SECONDS
    """Least time a busy model keeps a full accelerator, once it serves, before it makes room for one that waits."""
    cooldown_seconds: int = COOLDOWN_SECONDS
    """Until a model is started again after a start that failed; doubled by every further one."""
    max_concurrent_pulls: int = MAX_CONCURRENT_PULLS
    """Models whose weights are pulled at once, over all namespaces; the others wait in a line."""
    egress: Egress = field(default_factory=Egress)
    """How inspect and pull pods reach the outside."""
    recheck_seconds: int = RECHECK_SECONDS
    """Until a failure that somebody must cure is looked at again by itself; doubled each time, an hour at most."""
    election: tuple[str, str] | None = None
    """Namespace and name of the Lease that operators of one installation share; None: there is only one of them."""
    election_seconds: int = ELECTION_SECONDS
    """How long a standby waits for a leader that says nothing."""
    tracing: bool = False
    """Whether spans are exported: OpenTelemetry's own variables say so (`dormouse_api.tracing`)."""
    engine_traces: tuple[tuple[str, str], ...] = ()
    """OpenTelemetry's variables for runtime pods, whose engines then export spans; empty: they do not."""
    ops_port: int = PORT_OPS
    workers: int = 6
    resync_seconds: float = 300.0
    poll_seconds: float = 1.0
    demand_seconds: float = 2.0
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "Settings":
        """Settings from `env`; SettingsError with the fix when it cannot be."""
        image = env.get("DORMOUSE_PULLER_IMAGE", "")
        if not image:
            raise SettingsError("DORMOUSE_PULLER_IMAGE is not set: name the image of the inspect and pull Jobs")
        return cls(
            puller_image=image,
            namespaces=tuple(n for n in (p.strip() for p in env.get("DORMOUSE_NAMESPACES", "").split(",")) if n),
            hub_endpoint=_without_password(env, "DORMOUSE_HUB_ENDPOINT").rstrip("/"),
            image_pull_policy=env.get("DORMOUSE_IMAGE_PULL_POLICY") or "IfNotPresent",
            default_profile=env.get("DORMOUSE_DEFAULT_PROFILE") or "cpu",
            router_ops=env.get("DORMOUSE_ROUTER_OPS", ""),
            q4_threshold_bytes=_number(env, "DORMOUSE_Q4_THRESHOLD_BYTES", Q4_THRESHOLD_BYTES, low=0),
            turn_seconds=_number(env, "DORMOUSE_TURN_SECONDS", TURN_SECONDS, low=0),
            cooldown_seconds=_number(env, "DORMOUSE_LOAD_COOLDOWN_SECONDS", COOLDOWN_SECONDS, low=1),
            max_concurrent_pulls=_number(env, "DORMOUSE_MAX_CONCURRENT_PULLS", MAX_CONCURRENT_PULLS, low=1),
            egress=_egress(env),
            recheck_seconds=_number(env, "DORMOUSE_RECHECK_SECONDS", RECHECK_SECONDS, low=1),
            election=_lease(env.get("DORMOUSE_ELECTION_LEASE", "")),
            election_seconds=_number(env, "DORMOUSE_ELECTION_SECONDS", ELECTION_SECONDS, low=3),
            tracing=_tracing(env),
            engine_traces=_engine_traces(env),
            ops_port=_number(env, "DORMOUSE_OPS_PORT", PORT_OPS, low=0),
            workers=_number(env, "DORMOUSE_WORKERS", 6, low=1),
            resync_seconds=_number(env, "DORMOUSE_RESYNC_SECONDS", 300, low=1),
            log_level=env.get("DORMOUSE_LOG_LEVEL") or "INFO",
        )


def _egress(env: Mapping[str, str]) -> Egress:
    try:
        return Egress.from_environment(env)
    except EgressError as error:
        raise SettingsError(str(error)) from error


def _tracing(env: Mapping[str, str]) -> bool:
    try:
        return wanted(env)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _engine_traces(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    address = _without_password(env, "DORMOUSE_ENGINE_TRACES")
    if not address:
        return ()
    if not address.startswith(("http://", "https://")):
        raise SettingsError(f"DORMOUSE_ENGINE_TRACES is {address!r}: set it to the whole address, http://.../v1/traces")
    return ((TRACES_ENDPOINT, address), ("OTEL_SERVICE_NAME", "dormouse-engine"))


def _without_password(env: Mapping[str, str], name: str) -> str:
    """A URL that pods get in their environment."""
    url = env.get(name, "")
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise SettingsError(
            f"{name} holds a password, which everybody who may read Jobs and pods would see: use an address without one"
        )
    return url


def _number(env: Mapping[str, str], name: str, default: int, low: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) < low:
        raise SettingsError(f"{name} is {text!r}: set it to a whole number of at least {low}")
    return int(text)


def _lease(text: str) -> tuple[str, str] | None:
    if not text:
        return None
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise SettingsError(f"DORMOUSE_ELECTION_LEASE is {text!r}: set it to namespace/name of a Lease")
    return namespace, name
