"""What a dialect may ask of the rest of the router. Types and protocols only: no socket, no cluster, no framework.

A dialect turns a client's request into a `Call`, and what comes back into the client's own words. Who is asked, whether
the model must wake first, how long that may take and what happens when the engine dies is the gateway's business.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from dormouse_api.model import InferenceModelSpec
from dormouse_api.route import InferenceRouteSpec
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.request import Headers, Request

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
TOKENIZE = "/tokenize"
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
    """One request for an engine. `body` is what the engine gets, byte for byte; its model must be `record.name`."""

    record: Record
    path: str
    """On the engine: CHAT, COMPLETIONS, EMBEDDINGS, TOKENIZE or another of its POST routes."""
    body: bytes
    dialect: str
    """openai, ollama, anthropic or native: a label of the metrics."""
    stream: bool = False
    keep_alive: float | None = None
    """Seconds the model shall stay awake after this call; None: its idleSeconds; 0: unload; negative: for ever."""
    hold: float | None = None
    """Most seconds this caller wants to be held; None, or more than the model's holdSeconds: those. 0: the wake begins,
    and the call is refused at once."""
    request_id: str = ""
    session: bytes = b""
    """Calls of one session meet at one engine while it is not overloaded; b"": those whose prompts begin alike do."""
    headers: Headers = field(default_factory=list)
    """More headers for the engine (traceparent and the like)."""
    content_type: bytes = b"application/json"
    """Of the body."""
    renamed: Callable[[str], bytes] | None = None
    """The body for a model of another name, where it is not JSON and the gateway cannot write it."""
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
    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes: pieces of any size, never empty. `UpstreamCut` when the engine dies in the middle."""
        ...

    async def body(self) -> bytes:
        """The whole body (bounded: 64 MiB). `UpstreamCut` when the engine dies in the middle."""
        ...

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Tell how many tokens the call took, once the answer has said so."""
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


class UpstreamCut(Exception):  # noqa: N818
    """The engine went away, or went silent, in the middle of its answer: say so in-band. The text is for the client."""


class Gateway(Protocol):
    """The catalogue, the hold and the data plane behind one door."""

    def find(self, name: str, *, exact: bool = True, request: "Request | None" = None, body: bytes = b"") -> Record:
        """The model to call for `name`. `exact=False` (Ollama): any case, `:latest` may be left out or added.

        A route's name gives the model whose turn it is, or the one that `request` and `body` stick to; its record says
        so (`taken`), and is to be passed on to `open`, `load` and `unload` as it is.
        Raises Refusal 404 (model_not_found) whose message says how to pull it, 503 where no model of a route can serve.
        """
        ...

    def model(self, name: str, *, exact: bool = True) -> Record | None:
        """The model served as `name`, for lists and details. None where there is none, or a route has the name."""
        ...

    def route(self, name: str, *, exact: bool = True) -> Route | None:
        """The route served as `name`."""
        ...

    def routes(self) -> list[Route]:
        """Every route, newest first."""
        ...

    def behind(self, route: Route) -> list[Record]:
        """The models of the route that are there: its variants' in order, then those that would step in."""
        ...

    def models(self) -> list[Record]:
        """Every model, newest first. Never wakes anything."""
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

    async def create(self, name: str, spec: InferenceModelSpec, *, namespace: str | None = None) -> None:
        """Create an InferenceModel; None is the default namespace.

        Refusal 403 where pulling is forbidden, 409 where it exists, 400 with the API server's sentence where it is
        invalid, 503 where the API server cannot be reached.
        """
        ...

    async def delete(self, record: Record) -> None:
        """Delete the InferenceModel. Refusal 403 where deleting is forbidden, 404 where it is gone, 503."""
        ...

    async def reload(self, record: Record, at: str) -> None:
        """Have every runtime pod of the model replaced by a fresh one; `at` (a MicroTime) says which time this is.
        Refusal 403 where reloading is forbidden, 404 where nobody has looked at the model yet, 503.
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
