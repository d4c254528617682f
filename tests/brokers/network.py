"""How do tests cut, slow or break the network between a worker and its broker?  A proxy in between, of which both know only the port."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from dataclasses import dataclass, field

CHUNK = 65_536
WINDOW = 64  # pieces under way at once, in each direction of a connection


@dataclass(eq=False)
class _Connection:
    """One connection of a client, and ours to the broker."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    told: int = 0  # bytes that the broker said
    lost: bool = False  # somebody on the way has forgotten it: what is sent goes nowhere, and nobody says so

    def break_off(self) -> None:
        for writer in (self.near, self.far):
            writer.transport.abort()


@dataclass(eq=False)
class Network:
    """Carries what clients say to `port` on to the broker's own port, until `end`.

    Cut: what is sent meanwhile is held, as TCP repeats it, and comes when the network is whole again; who connects waits.
    """

    port: int
    broker: int
    delay: float = 0.0  # seconds, each way
    resets: float = 0.0  # share of the connections that are broken off, each second
    seed: int = 0
    _connections: set[_Connection] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Listen."""
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._dice = random.Random(self.seed)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        assert self._ready.wait(10)

    # ------------------------------------------------------------------ what tests do to it

    def cut(self) -> None:
        """Let nothing through, and say nothing of it to either side."""
        self._tell(self._whole.clear)

    def mend(self) -> None:
        """Let all through again, also what was sent meanwhile."""
        self._tell(self._whole.set)

    def forget(self) -> None:
        """Lose the connections that there are, without a word to either side; new ones are carried."""
        self._tell(lambda: [setattr(one, "lost", True) for one in self._connections])

    def forget_the_busiest(self) -> None:
        """Lose that connection alone on which the broker has said most: over it a worker fetches."""
        self._tell(lambda: setattr(max(self._connections, key=lambda one: one.told), "lost", True))

    def slow(self, delay: float, resets: float) -> None:
        """Be late by `delay` s each way, and break off a share of the connections each second."""
        self.delay, self.resets = delay, resets

    def end(self) -> None:
        self._tell(self._loop.stop)
        self._thread.join(10)

    def _tell(self, deed) -> None:
        self._loop.call_soon_threadsafe(deed)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", self.port))
        self._tearing = self._loop.create_task(self._tear())
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end_all())
        self._loop.close()

    async def _end_all(self) -> None:
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for one in list(self._connections):
            one.break_off()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            await self._whole.wait()
            answers, far = await asyncio.open_connection("127.0.0.1", self.broker)
        except (OSError, asyncio.CancelledError):
            near.transport.abort()
            return
        one = _Connection(near, far)
        self._connections.add(one)
        try:
            await asyncio.gather(self._copy(one, reader, far), self._copy(one, answers, near))
        except asyncio.CancelledError:  # the end: asyncio would report it as an error of the server
            return
        finally:
            self._connections.discard(one)
            one.break_off()

    async def _copy(self, one: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Carry what is said in one direction; being late takes nothing from how much is carried."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WINDOW)
        arriving = self._loop.create_task(self._arrive(one, under_way, sink))
        said = b"-"
        while said:
            try:
                said = await source.read(CHUNK)
            except OSError:
                said = b""
            await under_way.put((self._loop.time() + self.delay, said))
        await arriving

    async def _arrive(
        self, one: _Connection, under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        said = b"-"
        while said:
            due, said = await under_way.get()
            await asyncio.sleep(due - self._loop.time())
            await self._whole.wait()
            if one.lost:  # also that this side has gone
                continue
            if not said:
                one.break_off()
                return
            if sink is one.near:
                one.told += len(said)
            with contextlib.suppress(OSError):
                sink.write(said)
                await sink.drain()

    async def _tear(self) -> None:
        while True:
            await asyncio.sleep(1)
            for one in list(self._connections):
                if not one.lost and self._dice.random() < self.resets:
                    one.break_off()
