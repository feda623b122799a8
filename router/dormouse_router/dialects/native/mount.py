"""What of the native API the application mounts: one entry per prefix, so that errors below each are worded here."""

import time

from fastapi import APIRouter

from dormouse_router.dialects.native.answers import refuse
from dormouse_router.dialects.native.chat import Chatting
from dormouse_router.dialects.native.predict import AFTER, BEFORE, Predicting
from dormouse_router.dialects.native.pull import Pulling
from dormouse_router.dialects.native.reload import Reloading
from dormouse_router.dialects.native.routes import Native
from dormouse_router.dialects.native.sessions import Histories
from dormouse_router.dialects.native.watching import Watching
from dormouse_router.dialects.timed import Clock
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.insight import Insight
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings

PREDICT = (BEFORE, AFTER)


def dialects(
    gateway: Gateway, store: ModelStore, settings: Settings, keeping: Keeping, insight: Insight
) -> list[Dialect]:
    """The native API over `gateway`."""
    native, watching = Native(gateway, store), Watching(gateway, insight, keeping)
    reloading = Reloading(gateway, store, insight)
    chatting = Chatting(gateway, keeping.sessions, settings, Clock(wall=time.time, steady=time.monotonic))
    predicting = Predicting(gateway, settings)
    return [
        Dialect(prefix="/chat", refuse=refuse, posts={"/chat": chatting.chat}, router=APIRouter()),
        Dialect(prefix="/sessions", refuse=refuse, posts={}, router=Histories(keeping.sessions).routes()),
        Dialect(prefix="/pull", refuse=refuse, posts={"/pull": Pulling(gateway, store).pull}, router=APIRouter()),
        Dialect(prefix="/jobs", refuse=refuse, posts={}, router=native.routes()),
        Dialect(
            prefix="/models", refuse=refuse, posts={}, router=reloading.routes(), named={PREDICT: predicting.predict}
        ),
        Dialect(prefix="/status", refuse=refuse, posts={}, router=watching.routes()),
        Dialect(prefix="/health", refuse=refuse, posts={}, router=APIRouter()),
        Dialect(prefix="/diag", refuse=refuse, posts={}, router=APIRouter()),
        Dialect(prefix="/metrics", refuse=refuse, posts={}, router=APIRouter()),
    ]
