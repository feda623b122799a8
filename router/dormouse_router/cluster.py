"""What the router asks of the API server, as types and a protocol: `kube.py` answers for real, tests from memory.

Knows no client library, so everything but `kube.py` can be tested without one.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from dormouse_api.lease import Wish

Object = dict[str, Any]
"""An object of the API as JSON gives it."""


class Resource(StrEnum):
    """What the router watches; the value is the plural."""

    MODELS = "inferencemodels"
    ROUTES = "inferenceroutes"
    SLICES = "endpointslices"


class ClusterError(Exception):
    """The API server said no, or could not be reached (`status` 0). The text is the server's own sentence."""

    def __init__(self, status: int, message: str, reason: str = "", causes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        """Kubernetes' word: AlreadyExists, Invalid, Expired, ..."""
        self.causes = causes
        """Of what is Invalid: (field, sentence), such as spec.source.revision."""


class Expired(ClusterError):  # noqa: N818 - Kubernetes' own word
    """The watch's resourceVersion is too old (410): list again."""

    def __init__(self, message: str = "the resourceVersion is too old") -> None:
        super().__init__(410, message, "Expired")


@dataclass(frozen=True, slots=True)
class Listing:
    items: list[Object]
    version: str


@dataclass(frozen=True, slots=True)
class Event:
    """ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    object: Object

    @property
    def version(self) -> str:
        version = self.object["metadata"]["resourceVersion"]
        return str(version)


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A Lease as last seen: `version` must come back in the next write."""

    version: str
    wish: Wish | None


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server says of a token."""

    authenticated: bool
    username: str = ""
    audiences: tuple[str, ...] = ()


class Cluster(Protocol):
    """The API server. Every method may raise ClusterError."""

    async def list(self, resource: Resource, namespace: str | None) -> Listing: ...

    def watch(self, resource: Resource, namespace: str | None, version: str) -> AsyncGenerator[Event, None]:
        """Events after `version`. Ends when the server ends the stream; raises Expired when `version` is too old."""
        ...

    async def get_lease(self, namespace: str, name: str) -> LeaseState: ...

    async def patch_lease(self, namespace: str, name: str, spec: Object, version: str) -> LeaseState:
        """Write `spec`; ClusterError 409 when the Lease is no longer at `version`."""
        ...

    async def annotate_lease(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        """Set these annotations of the Lease, whatever its version."""
        ...

    async def create_model(self, meta: Object, spec: Object, *, dry_run: bool = False) -> None:
        """`meta`: namespace, name, and more where it has more."""
        ...

    async def patch_model(self, namespace: str, name: str, uid: str, spec: Object, *, dry_run: bool = False) -> None:
        """Merge `spec` into its own, if it is still the one with this uid; ClusterError 404 or 409 when it is not."""
        ...

    async def delete_model(self, namespace: str, name: str, uid: str) -> None:
        """Delete it if it is still the one with this uid; ClusterError 404 or 409 when it is not."""
        ...

    async def create_route(self, namespace: str, name: str, spec: Object) -> None:
        """Create an InferenceRoute that says it was derived by a client."""
        ...

    async def replace_route(self, namespace: str, name: str, spec: Object, version: str) -> None:
        """Give it another spec, whole; ClusterError 409 when it is no longer at `version`."""
        ...

    async def delete_route(self, namespace: str, name: str, uid: str) -> None: ...
