"""What is left of a call in a thread that failed?  Nothing: not what it held when it failed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref

from streams.kafka.threads import in_thread


class Rows(dict):
    """What takes memory."""


async def test_what_a_failed_call_held_is_let_go_of_at_once():
    """A restore that the group overtakes holds gigabytes, and the collector comes round when much is made, not when much is held."""
    kept: list[weakref.ref] = []

    def restore() -> None:
        rows = Rows()
        kept.append(weakref.ref(rows))
        raise ValueError("overtaken")

    async def overtaken() -> None:
        with contextlib.suppress(ValueError):
            await in_thread(restore)

    gc.disable()
    try:
        await overtaken()
        for one in threading.enumerate():
            if one.name == "dealpulse-restore":
                one.join(5)
        await asyncio.sleep(0)  # the turn of the loop in which it was raised
        assert [one() for one in kept] == [None]
    finally:
        gc.enable()


async def test_a_result_comes_back():
    """And an argument gets there."""
    assert await in_thread(lambda one: one + 1, 41) == 42
