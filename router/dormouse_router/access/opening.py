"""The gate that a router's settings ask for, with what tends it in the background."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import structlog

from dormouse_router.access.gate import KeyGate, Source
from dormouse_router.access.mounted import MountedKeys
from dormouse_router.access.oidc import OidcTokens
from dormouse_router.access.settings import KEYS, OIDC, OPEN, WORKLOADS, AccessSettings
from dormouse_router.access.shared import Counts, Shared
from dormouse_router.access.stored import StoredKeys
from dormouse_router.access.users import UserTokens
from dormouse_router.access.workloads import Reviewer, WorkloadTokens
from dormouse_router.accounts import Accounts

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_access(
    settings: AccessSettings,
    accounts: Accounts,
    counts: Counts | None = None,
    review: Reviewer | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[KeyGate | None]:
    """None where everybody may come in and nobody is asked. `counts`: where other routers count, too. `review`: asks
    the cluster whose token it is."""
    if OPEN in settings.modes:
        log.warning(
            "whoever reaches this router may use it without a key: set router.access.modes of the chart to [keys] "
            "(DORMOUSE_ACCESS_MODES=keys), unless only those reach it who may"
        )
    if not settings.guarded:
        yield None
        return
    mounted = MountedKeys(settings)
    gate = KeyGate(settings, _sources(settings, mounted, accounts, review, clock), clock)
    mounted.changed = gate.forget
    work = []
    if KEYS in settings.modes:
        await mounted.look()
        work.append(mounted.watch())
    if counts is not None:
        gate.shared = Shared(counts, gate.meters, clock)
        work.append(gate.shared.run())
    if settings.modes == (KEYS,) and not len(mounted):
        log.warning("no key is mounted, so nobody can make one: name a Secret in router.access.keySecrets of the chart")
    async with _tended(*work):
        yield gate


def _sources(
    settings: AccessSettings,
    mounted: MountedKeys,
    accounts: Accounts,
    review: Reviewer | None,
    clock: Callable[[], float],
) -> list[Source]:
    """Those of the modes, in the order in which they are asked: what costs least first."""
    found: list[Source] = []
    if KEYS in settings.modes:
        found += [mounted, StoredKeys(accounts, settings, clock=clock), UserTokens(accounts, settings, clock)]
    if OIDC in settings.modes:
        found.append(OidcTokens(settings, settings.provider, clock))
    if WORKLOADS in settings.modes and review is not None:
        found.append(WorkloadTokens(settings, review, clock))
    return found


@contextlib.asynccontextmanager
async def _tended(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_report)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("access is not tended any more", error=repr(error))
