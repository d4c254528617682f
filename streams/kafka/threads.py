"""How does the main loop wait for a call that blocks?  In a daemon thread, so that exit never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Run the call in a thread of its own; await the result or its exception."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    name = f"dealpulse-{getattr(function, '__name__', 'call')}"
    threading.Thread(target=_work, args=(loop, future, function, arguments), name=name, daemon=True).start()
    return future


def _work(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], function: Callable[..., T], arguments: tuple[Any, ...]
) -> None:
    result, error = None, None
    try:
        result = function(*arguments)
    except BaseException as caught:  # noqa: BLE001  # it is raised where it is awaited
        error = caught
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, future, result, error)
    # The error's traceback knows this frame: what the call held when it failed would wait for the garbage collector.
    del future, result, error


def _settle(future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)  # type: ignore[arg-type]  # None only if T allows it
    else:
        future.set_exception(error)
