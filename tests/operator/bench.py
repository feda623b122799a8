"""An operator in a world in memory, driven by hand: no threads, no waiting, a clock that tests turn."""

from typing import Any

from dormouse_api import names
from dormouse_operator.queue import WorkQueue
from dormouse_operator.reconcile import Api, Parts, Reconciler
from dormouse_operator.watch import Watch
from tests.operator.builders import SETTINGS
from tests.operator.world import KilledError, Quiet, World

Object = dict[str, Any]
PLURALS = {
    names.MODEL_KIND: names.MODEL_PLURAL,
    names.PROFILE_KIND: names.PROFILE_PLURAL,
    "PersistentVolumeClaim": "persistentvolumeclaims",
}


class Bench:
    """A world with an operator in it, driven by hand."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.quiet = Quiet()
        self.world.profile()
        self.start()

    def api(self) -> Api:
        """What a new process talks to."""
        return self.world

    def start(self) -> None:
        """A new operator process: nothing remembered."""
        self.queue = WorkQueue(lambda: self.world.now)
        parts = Parts(self.api(), self.queue, self.quiet, self.quiet, self.quiet)
        self.reconciler = Reconciler(SETTINGS, parts, lambda: self.world.now)
        self.watch = Watch(self.queue, self.reconciler.forget_profiles)
        self.world.on_event = self.event
        for (kind, _, _), body in sorted(self.world.objects.items()):
            self.event(kind, None, body)

    def event(self, kind: str, change: str | None, body: Object) -> None:
        plural = PLURALS.get(kind, f"{kind.lower()}s")
        self.reconciler.heard(plural)
        self.watch.event(plural, change, body)

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

    async def happen(self, event: str, crash: int) -> None:
        """One of look, step, time, restart and kill; `crash`: at which call from now the process dies."""
        if event == "look" and (key := self.queue.take()) is not None:
            await self.reconciler.look(key)
        elif event == "step":
            self.world.step()
        elif event == "time":
            self.world.now += 45
        elif event == "restart":
            self.start()
        elif event == "kill":
            self.world.fail_at = self.world.calls + crash
            try:
                await self.work()
            except KilledError:
                self.start()
            self.world.fail_at = None

    async def rests(self) -> None:
        """A new process finds nothing to write, and no look has ended in a bug."""
        requests = len(self.world.requests)
        self.start()
        await self.settle()
        assert len(self.world.requests) == requests
        assert "bug" not in self.quiet.results

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
