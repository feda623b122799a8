"""A cluster in memory with few devices, and callers who hold, renew Leases and are polled as routers do it.

What must never happen is asserted where it would: two pods on one device, and a pod that ends under a call.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from dormouse_api import names
from dormouse_api.lease import micro_time
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.pool import Traffic
from dormouse_operator.observed import Demand, Sample
from dormouse_operator.plan.service import LABEL_NOBODY
from dormouse_operator.queue import Key
from tests.operator.bench import Bench
from tests.operator.world import KilledError, World

Object = dict[str, Any]
GPU = "nvidia.com/gpu"
TICK, POLL, IDLE, WORKING, SPACING = 0.5, 2.0, 300, 30, 5.0


class Cluster(World):
    """Pods take time to start and to end, and a device each."""

    def __init__(self) -> None:
        super().__init__()
        self.devices = {"node": 1}
        self.starts: dict[str, float] = {}
        """Seconds a model's start takes."""
        self.broken: set[str] = set()
        """Models whose engine fails."""
        self.misfits: dict[str, str] = {}
        """Models that no node may run, and what the scheduler says of their pods."""
        self.ending_seconds = 1.0
        self.backoff = 0.0
        """Seconds until the scheduler tries a pod again that found no device."""
        self.in_flight: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._tried: dict[str, float] = {}
        self._number = 0

    def pods_of(self, model: str) -> list[Object]:
        label = {names.LABEL_MODEL: model, names.LABEL_COMPONENT: names.COMPONENT_RUNTIME}
        return [b for (kind, *_), b in self.objects.items() if kind == "Pod" and label.items() <= _labels(b).items()]

    def step(self) -> bool:
        before = len(self.writes)
        super().step()
        self._schedule()
        self._kubelet()
        return len(self.writes) != before

    def _deployment(self, space: str, name: str, body: Object) -> None:
        template = body["spec"]["template"]
        model = template["metadata"]["labels"][names.LABEL_MODEL]
        alive = [pod for pod in self.pods_of(model) if "deletionTimestamp" not in pod["metadata"]]
        present = [pod for pod in alive if pod["spec"]["of"] == str(template)]
        for pod in [pod for pod in alive if pod not in present] + present[body["spec"]["replicas"] :]:
            assert not self.in_flight.get(model), f"{model} is cut"
            self._due[pod["metadata"]["name"]] = self.now + self.ending_seconds
            self.put("Pod", space, pod["metadata"]["name"], metadata={"deletionTimestamp": stamp(self.now)})
        for _ in range(body["spec"]["replicas"] - len(present)):
            self._number += 1
            limits = template["spec"]["containers"][0]["resources"].get("limits", {})
            meta = {
                "labels": template["metadata"]["labels"],
                "ownerReferences": [{"uid": body["metadata"]["uid"]}],
            }
            spec = {"devices": int(limits.get(GPU, 0)), "containers": [{"resources": {"limits": limits}}]}
            spec["of"] = str(template)
            self.put("Pod", space, f"{name}-{self._number}", metadata=meta, spec=spec, status={"phase": "Pending"})

    def _schedule(self) -> None:
        pods = [b for (kind, *_), b in self.objects.items() if kind == "Pod" and "devices" in b.get("spec", {})]
        for pod in pods:
            meta, spec = pod["metadata"], pod["spec"]
            if spec.get("nodeName") or "deletionTimestamp" in meta:
                continue
            if self.now < self._tried.get(meta["name"], self.now) + (
                self.backoff if meta["name"] in self._tried else 0
            ):
                continue
            taken = {
                node: sum(p["spec"]["devices"] for p in pods if p["spec"].get("nodeName") == node)
                for node in self.devices
            }
            free = next((node for node, count in self.devices.items() if count - taken[node] >= spec["devices"]), None)
            misfit = self.misfits.get(_labels(pod)[names.LABEL_MODEL])
            if free is not None and misfit is None:
                scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self.now)}
                self._due[meta["name"]] = self.now + self.starts.get(_labels(pod)[names.LABEL_MODEL], 1.0)
                status = {"phase": "Running", "podIP": "10.0.0.2", "conditions": [scheduled]}
                pod["spec"] = spec = spec | {"nodeName": free}  # the loop above must see it
                self.put("Pod", meta["namespace"], meta["name"], spec=dict(spec), status=status)
                continue
            self._tried[meta["name"]] = self.now
            if not pod["status"].get("conditions"):
                homeless = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
                words = misfit or f"0/1 nodes: 1 Insufficient {GPU}."
                homeless |= {"message": words, "lastTransitionTime": stamp(self.now)}
                self.put("Pod", meta["namespace"], meta["name"], status=pod["status"] | {"conditions": [homeless]})
        for node, count in self.devices.items():
            assert sum(p["spec"]["devices"] for p in pods if p["spec"].get("nodeName") == node) <= count

    def _kubelet(self) -> None:
        for name, due in list(self._due.items()):
            pod = self.objects.get(("Pod", "ns", name))
            if pod is None or due > self.now:
                continue
            del self._due[name]
            if "deletionTimestamp" in pod["metadata"]:
                self.remove("Pod", "ns", name)
                self.writes.append(("Pod", "world", name))  # so that a step has happened
            elif _labels(pod)[names.LABEL_MODEL] in self.broken:
                self.put("Pod", "ns", name, status=pod["status"] | {"containerStatuses": [_crashed(self.now)]})
            else:
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(self.now)}
                conditions = [*pod["status"]["conditions"], ready]
                self.put("Pod", "ns", name, status=pod["status"] | {"conditions": conditions})


@dataclass
class Caller:
    """The calls of one model, and what its routers do. `every`: mean seconds between calls; 0: none by themselves."""

    name: str
    every: float = 0.0
    longest: float = 4.0
    held: list[tuple[float, float]] = field(default_factory=list)
    flying: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    next_call: float = 0.0
    last: float | None = None
    written: float = 0.0
    final: bool = True


class Shared(Bench):
    """An operator, devices and callers, tick by tick."""

    world: Cluster

    def __init__(self, seed: int = 0, **profile: Any) -> None:
        super().__init__()
        self.random = random.Random(seed)  # noqa: S311 - arrivals, no secrets
        self.world = Cluster()
        accelerator = {"resource": GPU, "count": 1, "memory": "24Gi"}
        self.world.profile("cpu", **({"device": "cuda", "accelerator": accelerator} | profile))
        self.start()
        self.callers: dict[str, Caller] = {}
        self.polled = 0.0

    async def add(self, name: str, start: float = 1.0, profile: str = "cpu", **more: Any) -> Caller:
        """A model that is pulled and asleep, and its callers."""
        self.world.starts[name] = start
        self.world.model(name, profile=profile)
        self.callers[name] = caller = Caller(name, **more)
        caller.next_call = self.world.now + (self.random.expovariate(1 / caller.every) if caller.every else 0.0)
        await self.settle()
        return caller

    def call(self, name: str, seconds: float = 1.0) -> None:
        self.callers[name].held.append((self.world.now, seconds))

    async def run(self, seconds: float, kill: float = 0.0) -> None:
        """Let time pass; `kill`: how likely the operator dies in a tick."""
        until = self.world.now + seconds
        while self.world.now < until:
            self.world.now += TICK
            for caller in self.callers.values():
                self._calls(caller)
                self._lease(caller)
            if self.world.now >= self.polled + POLL:
                self._poll()
            if kill and self.random.random() < kill:
                self.world.fail_at = self.world.calls + self.random.randint(1, 30)
            try:
                await self.settle()
            except KilledError:
                self.start()
                self.world.fail_at = None
                await self.settle()

    def awake(self) -> list[str]:
        return sorted(name for name in self.callers if self._ready(name))

    def _ready(self, name: str) -> bool:
        return any(_is_ready(pod) for pod in self.world.pods_of(name))

    def _open(self, name: str) -> bool:
        service = self.world.objects.get(("Service", "ns", names.runtime_name(name)))
        return service is not None and LABEL_NOBODY not in service["spec"]["selector"]

    def _calls(self, c: Caller) -> None:
        now = self.world.now
        while c.every and c.next_call <= now:
            c.held.append((c.next_call, self.random.uniform(0.1, c.longest)))
            c.next_call += self.random.expovariate(1 / c.every)
        c.flying = [end for end in c.flying if end > now]
        if c.held and self._ready(c.name) and self._open(c.name):
            c.waits += [now - since for since, _ in c.held]
            c.flying += [now + takes for _, takes in c.held]
            c.held = []
        if c.held or c.flying:
            c.last, c.final = now, False
        self.world.in_flight[c.name] = len(c.flying)

    def _lease(self, c: Caller) -> None:
        """As the router's keeper: at a third of the wish while calls run, and once some seconds after the last."""
        now = self.world.now
        if c.last == now and now >= c.written + WORKING / 3:
            self._wish(c, now, WORKING)
        elif c.last is not None and c.last < now and not c.final and now >= c.written + SPACING:
            self._wish(c, now, max(1, int(c.last + IDLE - now)))
            c.final = True

    def _wish(self, c: Caller, now: float, seconds: int) -> None:
        c.written = now
        spec = {"holderIdentity": "r", "renewTime": micro_time(now), "leaseDurationSeconds": seconds}
        self.world.put("Lease", "ns", names.runtime_name(c.name), spec=spec)

    def _poll(self) -> None:
        self.polled = now = self.world.now
        for c in self.callers.values():
            key, load = Key("ns", c.name), len(c.held) + len(c.flying)
            before = self.quiet.demands.get(key)
            quiet = now - c.last if c.last is not None else 1e6
            self.quiet.heard[key] = Traffic(now, len(c.flying), len(c.held), quiet)
            self.quiet.demands[key] = Demand((Sample(now, load),))
            if before is None or bool(before.now) != bool(load):
                self.queue.add(key)


def _labels(body: Object) -> Object:
    return dict(body["metadata"].get("labels") or {})


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return "deletionTimestamp" not in pod["metadata"] and any(c["type"] == "Ready" for c in conditions)


def _crashed(now: float) -> Object:
    ended = {"exitCode": 1, "message": "no kernel image is available", "finishedAt": stamp(now)}
    return {"name": "runtime", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}} | {
        "lastState": {"terminated": ended}
    }
