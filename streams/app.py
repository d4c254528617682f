"""How does a worker run?  One Faust app with one agent per room, in this process, until it is told to stop.

Exit codes: 0 stopped in order, all of it committed and the group left; 1 could not start, with one sentence
that says why; 70 lost its place or failed: start it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import faust
from faust.types import AppT, EventT, Message

from streams.config import Definitions
from streams.environment import Environment, bootstrap, client_settings
from streams.kafka import transport
from streams.kafka.admin import AdminError, check_broker, grown_topics, is_embedded, missing_rights
from streams.kafka.clients import SESSION_TIMEOUT, Connection
from streams.kafka.edge import Edge, Options
from streams.kafka.embedded import SecondWorkerError, claim_for_one_worker
from streams.kafka.exits import LOST_ITS_PLACE, log
from streams.kafka.faults import Faults
from streams.kafka.flush import FlushReport
from streams.kafka.inbox import TopicPart
from streams.kafka.room import Room
from streams.kafka.signs import EdgeSigns, broker_ends
from streams.kafka.transaction import StartError
from streams.kafka.watchdog import Watchdog
from streams.topics import Topic

CANNOT_START = 1
# The producer's flush takes the interpreter's lock again and again to hear what was delivered. Python's 5 ms would let it wait
# that long each time for a main loop that is busy: 10 s and more for 80,000 records, which is the transaction's time-out.
SWITCH_INTERVAL = 0.0005
T = TypeVar("T")


class App(faust.App):
    """A Faust app that knows the edge its transport and agents share."""

    edge: Edge
    watchdog_limit: float
    watchdog: Watchdog

    def _create_directories(self) -> None:
        """Make none: Faust's are for tables on disk, and would stay."""


class RunSchema(faust.Schema[Any, Any]):
    """Hands a run to the agent as it is: the room decodes, since Faust would ack what it cannot decode."""

    def compile(self, app: AppT, **_options: Any) -> Callable[..., Awaitable[EventT[Any]]]:
        """Return the function that makes an event of a message."""

        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:  # noqa: ARG001  # Faust's signature
            return app.create_event(None, message.value, None, message)

        return decode


def build_app(  # noqa: PLR0913  # each option has its one user
    environment: Environment,
    definitions: Definitions,
    rooms: Sequence[Room],
    *,
    on_report: Callable[[FlushReport], None] | None = None,
    one_worker: bool = False,
    accept_older_state: bool = False,
    session_timeout: float = SESSION_TIMEOUT,
    transactions: bool = True,
    faults: Faults | None = None,
    web: bool = False,
    form: bytes | None = None,
    watchdog: float | None = None,
    until: Mapping[TopicPart, int] | None = None,
    refuse_to_work: Callable[[], object] = lambda: None,
    grown_topics: Callable[[], Sequence[str]] = tuple,
) -> App:
    """Return the app; `app.edge` tells its status and lag.

    `one_worker` refuses a second member of the group.  `transactions=False` is the negative control of the
    fault tests.  `web` turns Faust's own web server on.  `form` is what restored state must be of.
    `watchdog`: after how many seconds a stuck worker ends itself, if not what the environment says.
    `until`, `refuse_to_work` and `grown_topics` are the edge's.
    """
    connection = Connection(client_settings(environment), environment.app_id, environment.slot, session_timeout, form)
    options = Options(
        flush_interval=definitions.flush_every,
        partitions=definitions.partitions if one_worker else None,
        accept_older_state=accept_older_state,
        transactions=transactions,
        faults=faults or Faults(),
        on_report=on_report or (lambda _report: None),
        until=until or {},
        refuse_to_work=refuse_to_work,
        grown_topics=grown_topics,
    )
    app = App(
        environment.app_id,
        broker=transport.faust_url(bootstrap(environment)),
        web_enabled=web,
        web_host=environment.web_host,
        web_port=environment.web_port or 6066,
        processing_guarantee="at_least_once",
        stream_wait_empty=True,
        stream_buffer_maxsize=64,
        topic_disable_leader=True,
        topic_allow_declare=False,
        worker_redirect_stdouts=False,
    )
    app.edge = Edge(connection, rooms, options)
    app.watchdog_limit = environment.watchdog if watchdog is None else watchdog
    for room in rooms:
        _add_agent(app, room)
    return app


class Worker(faust.Worker):
    """Faust's worker, in a hurry: nothing is handled any more from the signal on, and there is no second of rest at the end.

    Stopping takes Faust many turns of the main loop, and each would else wait for a piece to be handled.
    """

    app: App

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.app.edge.close()
        super()._schedule_shutdown(signal)

    async def _sentinel_task(self) -> None:
        await asyncio.sleep(0)


def _add_agent(app: App, room: Room) -> None:
    take = app.edge.intake.take

    async def agent(stream: Any) -> None:
        try:
            async for event in stream.noack().events():
                await take(room, event.value, event.ack)
        except Exception as error:  # noqa: BLE001  # Faust would ack and restart
            app.edge.fail(f"room {room.name} failed: {error!r}", error)

    app.agent(app.topic(*room.sources, schema=RunSchema()), name=room.name)(agent)


def run_worker(
    environment: Environment,
    definitions: Definitions,
    rooms: Sequence[Room],
    *,
    topics: Sequence[Topic] | None = None,
    prepare: Callable[[App], None] | None = None,
    **options: Any,
) -> int:
    """Run a worker in this process until SIGTERM or SIGINT; return its exit code.

    `topics` are checked before the start (default: all of ours).  `prepare` may add tasks, timers and
    services to the app; `options` are build_app's.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    begin_quietly(environment)
    app = or_say_why_not(lambda: _start(environment, definitions, rooms, topics, options))
    if app is None:
        return CANNOT_START
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    app.watchdog = Watchdog(
        EdgeSigns(app.edge, loop),
        app.watchdog_limit,
        partial(broker_ends, app.edge.connection),
        definitions.flush_every,
    )
    if prepare is not None:
        prepare(app)
    app.watchdog.start()
    try:
        return _run(app, loop)
    finally:
        app.watchdog.stop()


def begin_quietly(environment: Environment) -> None:
    """Set up the log, and end at once on a signal: until Faust listens to signals there is nothing to lose."""
    _log_to_stderr(environment.log_level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))


def _start(
    environment: Environment,
    definitions: Definitions,
    rooms: Sequence[Room],
    topics: Sequence[Topic] | None,
    options: dict[str, Any],
) -> App:
    problems = check_broker(environment, definitions, topics, transactions=False)
    if problems:
        raise StartError("; ".join(problems))
    if is_embedded(environment):
        claim_for_one_worker(bootstrap(environment), environment.app_id)
        options = {**options, "one_worker": True}
    else:
        for denied in missing_rights(environment, topics):  # before a flush or a fetch fails for want of them
            log.warning("%s; this worker ends where it needs to", denied)
    options = {"grown_topics": partial(grown_topics, environment, definitions, topics), **options}
    app = build_app(environment, definitions, rooms, **options)
    app.edge.connect()
    return app


def or_say_why_not(work: Callable[[], T]) -> T | None:
    """Run what blocks in a thread, so that signals are heard; None when the worker cannot start, and it has been said why."""
    results: list[T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again below
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if not problems:
        return results[0]
    if not isinstance(problems[0], (StartError, AdminError, SecondWorkerError)):
        raise problems[0]
    print(f"dealpulse: {problems[0]}", file=sys.stderr)  # noqa: T201  # whoever starts a worker reads this
    return None


def _run(app: App, loop: asyncio.AbstractEventLoop) -> int:
    worker = Worker(
        app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False, loglevel=None, blocking_timeout=0
    )
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if ended.code in (0, None):
            return 0
        log.critical("the worker failed: %r", worker.crash_reason or app.crash_reason)
    return LOST_ITS_PLACE


def _log_to_stderr(level: str) -> None:
    if not logging.getLogger().handlers:
        logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
