"""An operator in a world in memory, driven by hand: no threads, no waiting, a clock that tests turn."""

from typing import Any

from dormouse_api import names
from dormouse_operator.queue import WorkQueue
from dormouse_operator.reconcile import Parts, Reconciler
from dormouse_operator.watch import Watch
from tests.operator.builders import SETTINGS
from tests.operator.world import Quiet, World

Object = dict[str, Any]
PLURALS = {
    names.MODEL_KIND: names.MODEL_PLURAL,
    names.PROFILE_KIND: names.PROFILE_PLURAL,
    "PersistentVolumeClaim": "persistentvolumeclaims",
}


class Bench:
    """A world with an operator in it, driven by hand."""

    def __init__(self) -> None:
        self.world = World()
        self.quiet = Quiet()
        self.world.profile()
        self.start()

    def start(self) -> None:
        """A new operator process: nothing remembered."""
        self.queue = WorkQueue(lambda: self.world.now)
        parts = Parts(self.world, self.queue, self.quiet, self.quiet, self.quiet)
        self.reconciler = Reconciler(SETTINGS, parts, lambda: self.world.now)
        self.watch = Watch(self.queue, self.reconciler.forget_profiles)
        self.world.on_event = self.event
        for (kind, _, _), body in sorted(self.world.objects.items()):
            self.event(kind, None, body)

    def event(self, kind: str, change: str | None, body: Object) -> None:
        self.watch.event(PLURALS.get(kind, f"{kind.lower()}s"), change, body)

    async def work(self) -> int:
        """Look at all that waits; how many looks."""
        looks = 0
        while (key := self.queue.take()) is not None:
            await self.reconciler.look(key)
            looks += 1
            assert looks < 500, "it does not settle"
        return looks

    async def settle(self) -> None:
        """Until neither the operator nor the cluster has anything left to do."""
        for _ in range(200):
            looks = await self.work()
            if not self.world.step() and not looks and self.queue.take() is None:
                return
        raise AssertionError("it does not settle")

    async def pass_time(self, seconds: float) -> None:
        self.world.now += seconds
        await self.settle()

    def status(self, name: str = "tiny") -> Object:
        return dict(self.world.objects[names.MODEL_KIND, "ns", name]["status"])

    def condition(self, kind: str = "Ready", name: str = "tiny") -> tuple[str, str]:
        found = next(c for c in self.status(name)["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def message(self, kind: str = "Ready", name: str = "tiny") -> str:
        return str(next(c for c in self.status(name)["conditions"] if c["type"] == kind)["message"])

    def replicas(self, name: str = "tiny") -> int:
        return int(self.world.objects["Deployment", "ns", f"{name}-runtime"]["spec"]["replicas"])

    def of_kind(self, kind: str) -> list[str]:
        return [name for k, _, name in sorted(self.world.objects) if k == kind]
