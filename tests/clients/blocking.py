"""A blocking client behind the face of its asynchronous twin, so that one test tells the same story with both.

Every call runs in another thread, as a program would block. Knows no client in particular: resources (`client.chat`)
are wrapped when they are read, calls when they are made, what they return when it can be stepped through.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from types import NoneType, TracebackType
from typing import Any

from pydantic import BaseModel

_END = object()
_PLAIN = (str, bytes, int, float, list, tuple, Mapping, BaseModel, NoneType)
"""What attributes hold that are no resources."""


class Blocking:
    """A client, one of its resources, or a stream of it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if inspect.isroutine(value):
            return lambda *args, **more: Calling(value, args, more)
        return value if isinstance(value, _PLAIN) else Blocking(value)

    async def __aenter__(self) -> Any:
        return Blocking(await asyncio.to_thread(self._inner.__enter__))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._inner.__exit__, kind, error, trace)

    async def __aiter__(self) -> AsyncIterator[Any]:
        steps = iter(self._inner)
        while (piece := await asyncio.to_thread(next, steps, _END)) is not _END:
            yield piece


class Calling:
    """A call, made once it is awaited, entered or stepped through."""

    def __init__(self, what: Callable[..., Any], args: tuple[Any, ...], more: dict[str, Any]) -> None:
        self._what, self._args, self._more = what, args, more

    async def _made(self) -> Any:
        return _faced(await asyncio.to_thread(self._what, *self._args, **self._more))

    def __await__(self) -> Generator[Any, None, Any]:
        return self._made().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        made = await asyncio.to_thread(self._what, *self._args, **self._more)
        async for piece in Blocking(made):
            yield piece

    async def __aenter__(self) -> Any:
        self._entered = Blocking(await asyncio.to_thread(self._what, *self._args, **self._more))
        return await self._entered.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._entered.__aexit__(kind, error, trace)


def _steps(value: object) -> bool:
    """Whether it is a stream, and not a list or an object that happens to be iterable."""
    return isinstance(value, Iterator) or (hasattr(value, "__iter__") and hasattr(value, "__enter__"))


def _faced(value: object) -> Any:
    return Blocking(value) if _steps(value) and not isinstance(value, BaseModel) else value
