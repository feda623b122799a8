"""What a dialect may ask of the rest of the router. Types and protocols only: no socket, no cluster, no framework.

A dialect turns a client's request into a `Call`, and what comes back into the client's own words. Who is asked, whether
the model must wake first, how long that may take and what happens when the engine dies is the gateway's business.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from dormouse_api.model import InferenceModelSpec
from dormouse_api.route import InferenceRouteSpec
from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.request import Headers, Refusal, Request
from dormouse_router.request import UpstreamCut as UpstreamCut

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
TOKENIZE = "/tokenize"
BATCH = "batch"
"""`Call.dialect` of what the batch worker asks."""
SESSION = b"x-dormouse-session"
"""A request header: `Call.session`."""
FOREVER = -1.0
"""`Call.keep_alive` that never ends (any negative number means the same)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a held caller may be told while its model wakes."""

    record: Record
    stage: str
    """What the model is doing (`Record.stage`): Scheduling, Pulling 43%, Loading, ..."""
    waited: float
    """Seconds held so far."""
    remaining: float | None
    """Estimated seconds to go, where an estimate exists."""


@dataclass(slots=True)
class Call:
    """One request for an engine. `body` is what the engine gets, byte for byte; its model must be `record.called`."""

    record: Record
    path: str
    """On the engine: CHAT, COMPLETIONS, EMBEDDINGS, TOKENIZE or another of its POST routes."""
    body: bytes
    dialect: str
    """openai, ollama, anthropic, replicate, native or batch: a label of the metrics."""
    stream: bool = False
    keep_alive: float | None = None
    """Seconds the model shall stay awake after this call; None: its idleSeconds; 0: unload; negative: for ever."""
    hold: float | None = None
    """Most seconds to hold it, the model's holdSeconds at most; None: those. 0: the wake begins, and it is refused."""
    request_id: str = ""
    session: bytes = b""
    """Calls of one session meet at one engine while it is not overloaded; b"": those whose prompts begin alike do."""
    headers: Headers = field(default_factory=list)
    """More headers for the engine (traceparent and the like)."""
    content_type: bytes = b"application/json"
    """Of the body."""
    renamed: Callable[[str], bytes] | None = None
    """The body for a model of another name, where it is not JSON and the gateway cannot write it."""
    low: bool = False
    """It yields to all others (a batch's): engines take it up last, and it waits for its model only where `hold` says
    so, which then may be longer than the model's holdSeconds."""
    spend: Callable[[int], None] | None = None
    """Told how many tokens it took, at its end; the gateway sets it."""
    waiting: Callable[[Waiting], Awaitable[None]] | None = None
    """Called while the call is held, first after a few seconds, then at an interval: for SSE comments."""


class Flow(Protocol):
    """An engine's answer as its bytes arrive, for whoever is told of them instead of waiting."""

    status: int
    started: bool
    """The head has come: the one above and the two below mean something."""
    complete: bool
    """All of the body has come."""
    error: Exception | None
    """Why no more will come."""

    @property
    def headers(self) -> Headers: ...

    @property
    def events(self) -> bool:
        """It is a stream of server-sent events."""
        ...

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        ...

    def watch(self, changed: Callable[[], None] | None) -> None:
        """Call `changed` whenever one of the above changed."""
        ...

    def pause(self) -> None:
        """Read no more of it for now."""
        ...

    def resume(self) -> None: ...


class Upstream(Protocol):
    """An engine's answer whose head has come. Iterate `chunks`, or await `body`; leaving the context cancels it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def record(self) -> Record: ...

    @property
    def hold_seconds(self) -> float:
        """How long the call waited for its model to wake; next to nothing when the model was awake."""
        ...

    @property
    def flow(self) -> Flow: ...

    @property
    def pace(self) -> float | None:
        """Seconds per token of the model's calls that are not low, where there were any a moment ago."""
        ...

    @property
    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes: pieces of any size, never empty. `UpstreamCut` when the engine dies in the middle."""
        ...

    async def body(self) -> bytes:
        """The whole body (bounded: 64 MiB). `UpstreamCut` when the engine dies in the middle."""
        ...


class Opening(Protocol):
    """A call on its way: an async context manager, or begun `at_once`."""

    @property
    def upstream(self) -> "Upstream":
        """Once `at_once` was True."""
        ...

    def at_once(self, changed: Callable[[], None]) -> bool:
        """Send the call now if its model is awake and a connection is open; `changed` is called whenever more of the
        answer has come. False: nothing happened. Raises Refusal.

        `upstream.flow.error` is an UpstreamCut, a Refusal, or, before the head, something after which the context may
        still be entered: the call is then tried again.
        """
        ...

    def close(self, error: BaseException | None = None) -> None:
        """The end of a call that began `at_once`: what became of it."""
        ...

    async def __aenter__(self) -> "Upstream": ...

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None: ...


class Gateway(Protocol):
    """The catalogue, the hold and the data plane behind one door."""

    def find(self, name: str, *, exact: bool = True, request: "Request | None" = None, body: bytes = b"") -> Record:
        """The model to call for `name`. `exact=False` (Ollama): any case, `:latest` may be left out or added.

        A route's name gives the model whose turn it is, or the one that `request` and `body` stick to; its record says
        so (`taken`), and is to be passed on to `open`, `load` and `unload` as it is. What whoever sent `request` does
        not see is not there; without a request that is whatever not everybody sees.
        Raises Refusal 404 (model_not_found) whose message says how to pull it, 503 where no model of a route can serve.
        """
        ...

    def caller(self, owner: str) -> Caller:
        """Who asks now; in mode `open` whoever has this credential (`keeping.request_owner`)."""
        ...

    def sees(self, caller: Caller, found: Record | Route) -> bool:
        """Whether it is there for the caller."""
        ...

    def look_up(self, name: str, caller: Caller, *, exact: bool = True) -> Record | Route | None:
        """The model or route that `name` means to the caller, to tell or change it. Never wakes anything."""
        ...

    def models(self, caller: Caller) -> list[Record]:
        """Every model that the caller sees, newest first. Never wakes anything."""
        ...

    def routes(self, caller: Caller) -> list[Route]:
        """Every route that the caller sees, newest first."""
        ...

    def behind(self, route: Route) -> list[Record]:
        """The models of the route that are there: its variants' in order, then those that would step in."""
        ...

    def awake(self, record: Record) -> bool:
        """Whether an engine is ready to answer for it now."""
        ...

    def open(self, call: Call) -> Opening:
        """Send `call`, waking its model first if it sleeps. Raises Refusal (404, 429, 502, 503) before the answer's
        head. An engine's own 4xx/5xx is no Refusal: it is an `Upstream` with that status and the engine's JSON body.
        """
        ...

    async def load(self, record: Record, keep_alive: float | None = None, hold: float | None = None) -> float:
        """Wake the model and wait until it can answer; seconds waited. `hold`: as in `Call`. Refusal as from `open`."""
        ...

    async def unload(self, record: Record) -> None:
        """End the wish to stay awake now; calls in flight still finish."""
        ...

    async def awake_until(self, record: Record) -> float | None:
        """When the model may sleep (seconds since the epoch), None where nobody wants it awake or nobody can say."""
        ...

    def exposition(self) -> tuple[bytes, str]:
        """The text of /metrics and its content type."""
        ...


class ModelStore(Protocol):
    """Creating and deleting models, for the dialects that may (`Settings.pull`, `Settings.delete` are checked here)."""

    async def create(
        self, name: str, spec: InferenceModelSpec, caller: Caller, *, mark: str = "", dry_run: bool = False
    ) -> InferenceModelSpec:
        """Create an InferenceModel of the caller's in the default namespace; `dry_run`: only say whether that can be.
        Its spec, with whose it is. `mark`: what its record shall have as `request`.

        Refusal 403 where pulling is forbidden, 409 where it exists, 400 with the API server's sentence where it is
        invalid (`param` is the field, such as spec.source.revision), 503 where the API server cannot be reached.
        """
        ...

    async def change(self, record: Record, spec: dict[str, object], caller: Caller, *, dry_run: bool = False) -> None:
        """Merge `spec` (as it travels; null takes a field away) into the InferenceModel's. Refusal as from `create`,
        403 where it is not the caller's, 404 where it is gone.
        """
        ...

    async def delete(self, record: Record, caller: Caller) -> None:
        """Delete the InferenceModel. Refusal 403 where that is forbidden or it is somebody else's, 404, 503."""
        ...

    async def reload(self, record: Record, at: str, caller: Caller) -> None:
        """Have every runtime pod of the model replaced by a fresh one; `at` (a MicroTime) says which time this is.
        Refusal 403 where reloading is forbidden or it is somebody else's, 404 where nobody has looked at it yet, 503.
        """
        ...

    async def put_route(self, namespace: str, name: str, spec: InferenceRouteSpec, old: Route | None = None) -> None:
        """Create an InferenceRoute, or give `old` this spec. It is served here when this returns. Refusal likewise."""
        ...

    async def delete_route(self, route: Route) -> None:
        """Delete the InferenceRoute. It is not served here any more when this returns. Refusal likewise."""
        ...

    def watch(self, namespace: str, name: str) -> AsyncGenerator[Record | None, None]:
        """The record now (None: there is none yet) and again each time it changed; the last is None when deleted
        after having been there. Ends only by being closed: leave it with `aclosing`.
        """
        ...

    @property
    def default_namespace(self) -> str: ...


def unknown(name: str) -> Refusal:
    """The refusal of a call for a model that is not there. Nothing is ever downloaded by a chat."""
    shown = name if len(name) <= 200 else f"{name[:200]}..."
    text = (
        f"The model '{shown}' was not found. Pull it first: `ollama pull <org>/<name>`, POST /pull with "
        '{"model": "<org>/<name>"}, or `kubectl apply` an InferenceModel that names it.'
    )
    return Refusal(404, text, code="model_not_found", param="model")
