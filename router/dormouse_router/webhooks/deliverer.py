"""What is owed is sent: by any router, a few at once, each receiver a few of them, again after a while where it failed.

At least once: a router that dies while it tries leaves the row, and another one tries again under the same webhook-id.
"""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable

import structlog

from dormouse_router.notifying import Delivery, Webhooks
from dormouse_router.request import Refusal
from dormouse_router.webhooks.endpoints import Endpoints
from dormouse_router.webhooks.patience import LEASE_SECONDS, TRY_SECONDS, pause
from dormouse_router.webhooks.receivers import Receiver, Receivers, UrlError
from dormouse_router.webhooks.sending import Outcome, Sender
from dormouse_router.webhooks.signing import signed

log = structlog.get_logger()
MOST = 32
"""Tries at once."""
PER_HOST = 4
EVERY = 1.0
"""Seconds between looks while nothing happens here: another router, or a restart, may have left something."""
AWAY = 5.0
ARRIVED, FAILED, GIVEN_UP = "arrived", "failed", "given_up"
Told = Callable[[str], None]


class Deliverer:
    """`run` it beside a router; `close` ends it."""

    def __init__(self, webhooks: Webhooks, receivers: Receivers, endpoints: Endpoints, told: Told) -> None:
        """`told` hears the outcome of each try."""
        self._webhooks, self._receivers, self._endpoints, self._told = webhooks, receivers, endpoints, told
        self._sender = Sender(receivers)
        self._flying: dict[asyncio.Task[None], list[Delivery]] = {}
        self._stopping, self._stirred, self._over = False, asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Until `close`."""
        try:
            await self._work()
        finally:
            self._over.set()

    async def _work(self) -> None:
        while not self._stopping:
            self._stirred.clear()
            seconds = EVERY
            try:
                await self._endpoints.refresh(time.monotonic())
                await self._webhooks.spread(self._endpoints.addressed, MOST)
                if await self._claim():
                    seconds = 0.0
            except Refusal:  # the store has said why
                seconds = AWAY
            if seconds:
                await self._wait(seconds)
        if self._flying:
            await asyncio.wait(self._flying, timeout=TRY_SECONDS)
        await self._sender.close()

    async def close(self) -> None:
        """Begin nothing more; returns when the tries under way have ended."""
        self._stopping = True
        self._stirred.set()
        await self._over.wait()

    async def _claim(self) -> bool:
        """Begin tries; whether there may be more to begin."""
        flying = [delivery for several in self._flying.values() for delivery in several[:1]]
        hosts = Counter(delivery.host for delivery in flying)
        busy = [host for host, count in hosts.items() if count >= PER_HOST]
        most = min(PER_HOST, MOST - len(flying))
        if most <= 0:
            return False
        now = time.time()
        claimed = await self._webhooks.claim(
            now, now + LEASE_SECONDS, most, busy, {delivery.subject for delivery in flying}
        )
        # of one subject one after the other, so that they come in order where nothing fails
        for _, several in itertools.groupby(sorted(claimed, key=_subject), _subject):
            task = asyncio.create_task(self._deliver_all(ordered := list(several)))
            self._flying[task] = ordered
            task.add_done_callback(self._landed)
        return bool(claimed)

    def _landed(self, task: "asyncio.Task[None]") -> None:
        del self._flying[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a webhook was not tried", error=repr(error))
        self._stirred.set()

    async def _wait(self, seconds: float) -> None:
        """Until a try ended, the end, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stirred.wait()

    async def _deliver_all(self, several: list[Delivery]) -> None:
        for delivery in several:
            await self._deliver(delivery)

    async def _deliver(self, delivery: Delivery) -> None:
        with contextlib.suppress(Refusal):  # its row stays, and is tried again
            outcome = await self._tried(delivery)
            if outcome.ok:
                self._told(ARRIVED)
                await self._webhooks.arrived(delivery)
                return
            seconds = None if outcome.gone else self._patience(delivery, outcome)
            self._told(GIVEN_UP if seconds is None else FAILED)
            tell = log.error if seconds is None else log.warning
            tell(
                "a webhook was given up" if seconds is None else "a webhook failed and is tried again",
                message=delivery.message_id,
                kind=delivery.kind,
                subject=delivery.subject,
                host=delivery.host,
                tries=delivery.attempts,
                why=outcome.why,
                seconds=seconds,
            )
            if seconds is None:
                await self._webhooks.arrived(delivery)
            else:
                await self._webhooks.again(delivery, time.time() + seconds)

    def _patience(self, delivery: Delivery, outcome: Outcome) -> float | None:
        return pause(delivery.kind, delivery.final, delivery.attempts, outcome.retry_after)

    async def _tried(self, delivery: Delivery) -> Outcome:
        try:
            receiver, secrets = await self._addressee(delivery)
        except UrlError as error:
            return Outcome(False, str(error))
        headers = signed(delivery.message_id, delivery.body, secrets, time.time())
        return await self._sender.send(receiver, headers, delivery.body)

    async def _addressee(self, delivery: Delivery) -> tuple[Receiver, list[str]]:
        """Where it goes now, and what signs it. UrlError."""
        if not delivery.endpoint:
            keys = await self._webhooks.keys(delivery.owner)
            return self._receivers.receiver(delivery.url), keys.signing(time.time())
        found = self._endpoints.find(delivery.endpoint)
        if found is None:
            raise UrlError(f"there is no endpoint '{delivery.endpoint}' any more")
        endpoint, receiver = found
        return receiver, endpoint.secrets


def _subject(delivery: Delivery) -> str:
    return delivery.subject
