"""What of the native API the application mounts: one entry per prefix, so that errors below each are worded here."""

from fastapi import APIRouter

from dormouse_router.dialects.native.routes import Native, refuse
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect


def dialects(gateway: Gateway, store: ModelStore, keeping: Keeping) -> list[Dialect]:
    """The native API over `gateway`."""
    native = Native(gateway, store)
    return [
        Dialect(prefix="/pull", refuse=refuse, posts={"/pull": native.pull}, router=APIRouter()),
        Dialect(prefix="/jobs", refuse=refuse, posts={}, router=native.routes()),
        Dialect(prefix="/health", refuse=refuse, posts={}, router=APIRouter()),
        Dialect(prefix="/metrics", refuse=refuse, posts={}, router=APIRouter()),
    ]
