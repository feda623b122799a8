"""An API server, the controllers and the kubelet in memory: enough of Kubernetes to run the whole operator core on.

Typed and strict where the operator's promises are: server-side apply removes what is no longer wanted, an apply that
changes nothing is no write, generations move with specs only, and children go with their owner.
"""

import copy
import itertools
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from dormouse_api import names
from dormouse_api.gpu import GpuReport
from dormouse_api.lease import micro_time
from dormouse_api.results import Progress
from dormouse_api.runtime import RuntimeState
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.pool import Traffic
from dormouse_operator.errors import Terminal
from dormouse_operator.observed import LABEL_JOB_NAME, Demand, Model, Pod, Tally
from dormouse_operator.queue import Key
from dormouse_operator.tally import Tallies
from tests.operator.builders import NOW, inspected, pulled, quantized

Object = dict[str, Any]
Id = tuple[str, str, str]
CLUSTER = frozenset({names.PROFILE_KIND})


class World:
    """Objects by (kind, namespace, name); `writes` lists what changed something, `requests` every write request."""

    def __init__(self) -> None:
        self.now = NOW
        self.objects: dict[Id, Object] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.requests: list[tuple[str, str, str]] = []
        self.created: list[Id] = []
        self.on_event: Callable[[str, str, Object], None] = lambda kind, change, body: None
        self.refuse: dict[str, Exception] = {}
        """Kind -> error of every apply of it."""
        self.events: dict[str, list[Object]] = {}
        """What the cluster says of an object, by its uid."""
        self.noticed: list[str] = []
        self.jobless = False
        """Whether the Job controller's pods are refused."""
        self.calls = 0
        self.fail_at: int | None = None
        """Number of the call that fails as if the process were killed in it."""
        self.jobs: dict[str, Callable[[Object], Object | None]] = {
            "inspect": lambda pod: done(inspected()),
            "pull": lambda pod: done(pulled()),
            "quantize": lambda pod: done(quantized("int4")),
        }
        self._intents: dict[Id, dict[str, Object]] = {}
        self._numbers = itertools.count(1)

    # -- the API server, as reconcile.Api wants it

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        self._call()
        return copy.deepcopy(self.objects.get((kind, namespace or "", name)))

    async def notices(self, namespace: str, uid: str) -> list[Object]:
        self._call()
        self.noticed.append(uid)
        return copy.deepcopy(self.events.get(uid, []))

    async def unfinished(self, kind: str, namespace: str | None, selector: str) -> list[Object]:
        found = await self.list(kind, namespace, selector)
        said = [item.get("status") or {} for item in found]
        over = [s.get("succeeded") if kind == "Job" else s.get("phase") == "Succeeded" for s in said]
        return [item for item, ended in zip(found, over, strict=True) if not ended]

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        self._call()
        many = re.search(r",(\S+) in \((.*)\)$", selector)
        among = (many[1], many[2].split(",")) if many else None
        wanted = dict(part.split("=") for part in (selector[: many.start()] if many else selector).split(",") if part)
        return [
            copy.deepcopy(body)
            for (k, space, _), body in sorted(self.objects.items())
            if k == kind and namespace in (None, space) and wanted.items() <= body["metadata"].get("labels", {}).items()
            if among is None or body["metadata"].get("labels", {}).get(among[0]) in among[1]
        ]

    async def each(self, kind: str, namespace: str | None = None, selector: str = "") -> AsyncIterator[Object]:
        for body in await self.list(kind, namespace, selector):
            yield {"metadata": body["metadata"]}

    async def apply(self, body: Object, manager: str = names.FIELD_MANAGER) -> Object:
        self._call()
        kind, meta = body["kind"], body["metadata"]
        self.requests.append((kind, "apply", meta["name"]))
        if error := self.refuse.get(kind):
            raise error
        id_ = (kind, meta["namespace"], meta["name"])
        old = self.objects.get(id_)
        if kind == "Job" and old and old["spec"] != body["spec"]:
            raise Terminal("the template of a Job cannot change", kind, 422)
        new = copy.deepcopy(old) if old else {"metadata": {}, "status": {}}
        before = self._intents.setdefault(id_, {}).get(manager, {})
        owners = _owners(new, before, body)
        _remove(new, before, body)
        _merge(new, body)
        if owners:
            new["metadata"]["ownerReferences"] = owners
        self._intents[id_][manager] = copy.deepcopy(body)
        return self._store(id_, old, new, "apply")

    async def apply_status(self, body: Object) -> bool:
        self._call()
        id_ = (body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
        self.requests.append((body["kind"], "status", id_[2]))
        old = self.objects.get(id_)
        if old is None:
            return False
        self._store(id_, old, old | {"status": copy.deepcopy(body["status"])}, "status")
        return True

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        self._call()
        self.requests.append((kind, "delete", name))
        body = self.objects.get((kind, namespace, name))
        if body is not None and body["metadata"]["uid"] == uid:
            self.remove(kind, namespace, name)

    def _call(self) -> None:
        self.calls += 1
        if self.fail_at == self.calls:
            raise KilledError

    # -- the user, and the controllers

    def put(self, kind: str, namespace: str, name: str, **body: Any) -> Object:
        """Create or replace an object, as a user or a controller would."""
        id_ = (kind, namespace, name)
        old = self.objects.get(id_)
        meta = body.pop("metadata", {}) | {"name": name} | ({} if kind in CLUSTER else {"namespace": namespace})
        new = (copy.deepcopy(old) if old else {"status": {}}) | copy.deepcopy(body)
        new["metadata"] = (old or {}).get("metadata", {}) | meta
        return self._store(id_, old, new, "put", ours=False)

    def model(self, name: str, **spec: Any) -> Key:
        """Apply an InferenceModel; a second time changes its spec."""
        self.put(names.MODEL_KIND, "ns", name, spec={"source": {"uri": f"hf://org/{name}"}} | spec)
        return Key("ns", name)

    def profile(self, name: str = "cpu", **spec: Any) -> None:
        body = {"image": "runtime:1", "device": "cpu", "kvCacheMemory": "1Gi"} | spec
        self.put(names.PROFILE_KIND, "", name, spec=body)

    def wake(self, name: str, seconds: int) -> None:
        """Renew the Lease, as a router does."""
        spec = {"holderIdentity": "r", "renewTime": micro_time(self.now), "leaseDurationSeconds": seconds}
        self.put("Lease", "ns", names.runtime_name(name), spec=spec)

    def remove(self, kind: str, namespace: str, name: str, *, told: bool = True) -> None:
        """Delete an object and all it owns; `told=False`: while no watch was open."""
        body = self.objects.pop((kind, namespace, name), None)
        if body is None:
            return
        self._intents.pop((kind, namespace, name), None)
        if told:
            self.on_event(kind, "DELETED", body)
        for id_, child in sorted(self.objects.items()):
            owners = child["metadata"].get("ownerReferences", [])
            rest = [o for o in owners if o["uid"] != body["metadata"]["uid"]]
            if rest and rest != owners:
                self.put(*id_, metadata={"ownerReferences": rest})
            elif owners and not rest:
                self.remove(*id_, told=told)

    def step(self) -> bool:
        """Let controllers and kubelet do what is due; whether anything changed."""
        before = len(self.writes)
        for (kind, space, name), body in sorted(self.objects.items()):
            if kind == "PersistentVolumeClaim" and body["status"].get("phase") != "Bound":
                self.put(kind, space, name, status={"phase": "Bound"})
            elif kind == "Job" and not self.jobless:
                self._job(space, name, body)
            elif kind == "Deployment":
                self._deployment(space, name, body)
        return len(self.writes) != before

    def _job(self, space: str, name: str, body: Object) -> None:
        if body["status"].get("conditions"):
            return
        template = body["spec"]["template"]
        labels = template["metadata"]["labels"] | {LABEL_JOB_NAME: name}
        pod = self.objects.get(("Pod", space, f"{name}-0"))
        if pod is None:
            self._pod(space, f"{name}-0", labels, body, {"phase": "Running", "podIP": "10.0.0.1"})
            return
        play = self.jobs[labels[names.LABEL_COMPONENT]](pod)
        if play is None:
            return
        if pod["status"] != play:
            self.put("Pod", space, f"{name}-0", status=play)
            return
        kind = "Complete" if play["phase"] == "Succeeded" else "Failed"
        condition = {"type": kind, "status": "True", "reason": kind, "lastTransitionTime": stamp(self.now)}
        self.put("Job", space, name, status={"conditions": [condition], "succeeded": int(kind == "Complete")})

    def _deployment(self, space: str, name: str, body: Object) -> None:
        wanted, labels = body["spec"]["replicas"], body["spec"]["template"]["metadata"]["labels"]
        digest = str(body["spec"]["template"])
        for number in range(8):
            id_ = ("Pod", space, f"{name}-{number}")
            pod = self.objects.get(id_)
            if pod is not None and (number >= wanted or pod["spec"] != {"of": digest}):
                self.remove(*id_)
            elif pod is None and number < wanted:
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(self.now)}
                status = {"phase": "Running", "podIP": "10.0.0.2", "conditions": [ready]}
                self._pod(space, id_[2], labels, body, status, digest)

    def _pod(self, space: str, name: str, labels: Object, owner: Object, status: Object, of: str = "") -> None:
        meta = {"labels": labels, "ownerReferences": [{"uid": owner["metadata"]["uid"]}]}
        self.put("Pod", space, name, metadata=meta, spec={"of": of}, status=status)

    def _store(self, id_: Id, old: Object | None, new: Object, verb: str, *, ours: bool = True) -> Object:
        meta = new["metadata"]
        if old is None:
            meta |= {
                "uid": f"u-{id_[2]}-{self.created.count(id_)}-{id_[0]}",
                "creationTimestamp": stamp(self.now),
                "generation": 1,
            }
            self.created.append(id_)
        elif _timeless(old) == _timeless(new):
            return copy.deepcopy(old)
        elif old.get("spec") != new.get("spec"):
            meta["generation"] = old["metadata"]["generation"] + 1
        meta["resourceVersion"] = str(next(self._numbers))
        self.objects[id_] = new
        self.writes.append((id_[0], verb if ours else "world", id_[2]))
        self.on_event(id_[0], "ADDED" if old is None else "MODIFIED", copy.deepcopy(new))
        return copy.deepcopy(new)


class KilledError(BaseException):
    """The process dies here."""


def done(message: str) -> Object:
    """A pod whose container ended well."""
    ended = {"exitCode": 0, "message": message}
    return {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": ended}}]}


def broken(code: int, message: str, at: float = NOW) -> Object:
    """A pod whose container ended badly."""
    ended = {"exitCode": code, "message": message, "finishedAt": stamp(at)}
    return {"phase": "Failed", "containerStatuses": [{"state": {"terminated": ended}}]}


class Quiet:
    """No pollers, no routers, and a memory of what was told."""

    def __init__(self) -> None:
        self.followed: dict[Key, Pod | None] = {}
        self.answers: dict[Key, Progress | RuntimeState] = {}
        self.demands: dict[Key, Demand] = {}
        self.statuses: list[tuple[InferenceModelStatus, InferenceModelStatus]] = []
        self.results: list[str] = []
        self.heard: dict[Key, Traffic] = {}
        self.sized: dict[Key, bool] = {}
        self.lost: list[Key] = []
        self.tallies = Tallies()
        self.firsts: dict[Key, float] = {}

    def watch(self, key: Key, hosts: Mapping[str, str]) -> None:
        """No pod here has a GPU."""

    def warned(self, key: Key) -> Mapping[str, GpuReport] | None:
        return {}

    def follow(self, key: Key, pod: Pod | None) -> None:
        self.followed[key] = pod

    def progress(self, key: Key) -> Progress | None:
        answer = self.answers.get(key)
        return answer if isinstance(answer, Progress) else None

    def state(self, key: Key) -> RuntimeState | None:
        answer = self.answers.get(key)
        return answer if isinstance(answer, RuntimeState) else None

    def of(self, key: Key) -> Demand | None:
        return self.demands.get(key)

    def traffic(self, key: Key, now: float) -> Traffic | None:
        return self.heard.get(key)

    def size(self, key: Key, wanted: bool, engines: tuple[str, ...] = ()) -> None:
        self.sized[key] = wanted

    def tally(self, key: Key) -> Tally:
        return self.tallies.of(key)

    def first_token(self, key: Key) -> float | None:
        return self.firsts.get(key)

    def settled(self, key: Key, written: Tally | None) -> None:
        if written is not None:
            self.tallies.settled(key, written)

    def met(self, model: Model) -> None: ...

    def told(self, model: Model, new: InferenceModelStatus) -> None:
        self.statuses.append((model.status, new))

    def seen(self, key: Key, status: InferenceModelStatus) -> None: ...

    def gone(self, key: Key) -> None:
        self.lost.append(key)

    def looked(self, result: str, seconds: float) -> None:
        self.results.append(result)


def _merge(target: Object, body: Object) -> None:
    for key, value in body.items():
        if isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = copy.deepcopy(value)


def _remove(target: Object, before: Object, now: Object) -> None:
    """Take away what the last intent had and this one has not."""
    for key, value in before.items():
        if key not in now:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(now[key], dict) and isinstance(target.get(key), dict):
            _remove(target[key], value, now[key])


def _owners(present: Object, before: Object, now: Object) -> list[Object]:
    """Owner references are one list of several managers, by uid."""
    had, mine = ({o["uid"]: o for o in body.get("metadata", {}).get("ownerReferences", [])} for body in (before, now))
    there = present["metadata"].get("ownerReferences", [])
    return [*(o for o in there if o["uid"] not in had.keys() | mine.keys()), *mine.values()]


def _timeless(body: Object) -> Object:
    return {k: v for k, v in body.items() if k != "metadata"} | {
        "metadata": {k: v for k, v in body["metadata"].items() if k not in ("resourceVersion", "generation")}
    }
