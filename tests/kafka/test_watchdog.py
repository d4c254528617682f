"""Does a stuck worker end itself, whatever of it is stuck, and is nobody else ended?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from shutil import which

import pytest
from flow import Flow

from streams.kafka.clients import Connection
from streams.kafka.embedded import embedded_broker as run_embedded_broker
from streams.kafka.signs import broker_ends
from streams.kafka.watchdog import Signs, Verdict, Watchdog

ROOT = Path(__file__).parents[2]
LIMIT = 60


def judged(
    looks: Iterable[tuple[int, int, Signs]], awake: float = 1.0, lingers: float = 0.0, limit: float = LIMIT
) -> str | None:
    """Return the first thing found: (answers of the main loop, beats of the poll thread, signs), look by look."""
    verdict = Verdict(limit, lingers)
    for answers, beats, signs in looks:
        found = verdict.surely(answers, beats, signs, awake) or verdict.unless_the_broker_is_away(signs, awake)
        if found:
            return found
    return None


def looks(signs: Callable[[int], Signs], count: int = 200) -> list[tuple[int, int, Signs]]:
    return [(second, second, signs(second)) for second in range(count)]


def test_nothing_waits():
    """An idle worker may go without a commit for ever."""
    assert judged(looks(lambda _: Signs(lag={"deals": 0}, taken={"deals": 7}, commits=1.0))) is None


def test_no_assignment():
    """A worker that waits for its place has nothing to do."""
    assert judged(looks(lambda _: Signs())) is None


def test_lag_with_commits():
    """Busy is not stuck."""
    assert judged(looks(lambda second: Signs(lag={"deals": 99}, taken={"deals": second}, commits=second))) is None


def test_lag_without_a_commit():
    """Although records are taken."""
    found = judged(looks(lambda second: Signs(lag={"deals": 1234}, taken={"deals": second}, commits=1.0)))
    assert found == "1,234 records wait and nothing is committed for 60 s"


def test_a_flush_that_lingers():
    """As long as it is meant to, it does so by its settings; whoever is stuck is found so much later."""

    def seen(second: int) -> Signs:
        return Signs(lag={"deals": 9}, taken={"deals": second}, commits=second // 150)

    assert judged(looks(seen, 600), lingers=150) is None
    assert judged(looks(seen, 600)) == "9 records wait and nothing is committed for 60 s"
    stuck = looks(lambda second: Signs(lag={"deals": 9}, taken={"deals": second}, commits=1.0), 600)
    assert judged(stuck, lingers=150) == "9 records wait and nothing is committed for 210 s"


def test_one_room_is_stuck_while_others_commit():
    """Their ticks would hide it for ever."""
    found = judged(
        looks(lambda second: Signs(lag={"deals": 0, "kpis": 5}, taken={"deals": second, "kpis": 3}, commits=second))
    )
    assert found == "5 records wait for kpis, which takes none for 60 s"


def test_a_commit_of_which_nobody_has_heard_since():
    """A loop that works on a large batch for half a minute has not said yet that the commit before it has ended."""
    commits = Signs(committing=True, commits=1.0)
    busy = [(10 if 10 < second < 50 else second, second, commits) for second in range(50)]
    assert judged(busy) is None
    ended = [(second, second, Signs(commits=2.0)) for second in range(50, 100)]
    assert judged(busy + ended) is None
    assert judged(looks(lambda _: commits)) == "a commit does not end for 20 s"


def test_a_main_loop_that_falls_silent_in_a_restore():
    """What it spoke of last may have gone on since: it is the loop that does not answer, from a moment after that on."""
    for signs in (Signs(restoring=True), Signs(lag={"deals": 3}), Signs(lag={"deals": 3}, taken={"deals": 1}, commits=1.0)):
        silent = [(min(second, 3), second, signs) for second in range(100)]
        assert judged(silent) == "the main loop does not answer for 60 s"


def test_a_commit_that_does_not_end():
    """Nothing else need wait, and not for as long: its transaction is over after 10 s; 20, or the limit where that is less."""
    stuck = looks(lambda _: Signs(committing=True, commits=1.0))
    assert judged(stuck) == "a commit does not end for 20 s"
    assert judged(stuck[:20]) is None
    assert judged(stuck, limit=5) == "a commit does not end for 5 s"


def test_many_commits_in_a_row():
    """One is always under way when we look."""
    assert judged(looks(lambda second: Signs(committing=True, commits=second))) is None


def test_a_long_restore_that_goes_on():
    """However long: it reads a record every half minute, nothing is committed, and lag is not known."""
    assert judged(looks(lambda second: Signs(restoring=True, restored=(second // 30, 0), commits=None), 2_000)) is None


def test_a_restore_that_does_not_go_on():
    """It has a deadline of its own, but might be stuck before it."""
    found = judged(looks(lambda _: Signs(restoring=True, restored=(5000, 3))))
    assert found == "restoring state does not go on (after 5,000 records) for 60 s"


def test_a_rebalance_is_progress():
    """The next owner's clock begins with its generation."""
    assert judged(looks(lambda second: Signs(lag={"deals": 9}, generation=second // 50))) is None


def test_a_main_loop_that_does_not_answer():
    """Nothing need wait for that."""
    assert judged([(7, second, Signs()) for second in range(100)]) == "the main loop does not answer for 60 s"


def test_a_poll_thread_that_does_not_come_round():
    """Unless it has not begun, or is leaving."""
    assert judged([(second, 7, Signs()) for second in range(100)]) == "the poll thread does not come round for 60 s"
    assert judged([(second, -1, Signs()) for second in range(100)]) is None


def test_only_time_awake_counts():
    """59 looks are 59 s, whatever the clock says."""
    stuck = [(second, second, Signs(lag={"deals": 1})) for second in range(60)]
    assert judged(stuck) is None
    assert judged(stuck, awake=3.0) is not None


class Still:
    """A worker of which nothing moves."""

    def __init__(self, signs: Signs) -> None:
        self.signs, self.rounds = signs, 0

    def beats(self) -> int:
        self.rounds += 1
        return self.rounds

    def ask(self, answer: Callable[[Signs], None]) -> None:
        answer(self.signs)


def looked(signs: Signs, *, answers: bool, ends: dict | None = None) -> tuple[str | None, int]:
    asked = []
    dog = Watchdog(Still(signs), 0, lambda _parts: asked.append(1) or ((ends or {}) if answers else None))
    found = None
    for _ in range(130):
        found = found or dog._look(1.0)
    return found, len(asked)


class Prompt(Still):
    """A worker that answers at once at first, later only after the look."""

    def __init__(self) -> None:
        super().__init__(Signs())
        self.later: list[Callable[[Signs], None]] = []

    def ask(self, answer: Callable[[Signs], None]) -> None:
        if self.rounds == 0:
            answer(self.signs)
        else:
            self.later.append(answer)


def test_an_answer_between_two_looks_counts_for_the_second():
    """Also when the first look took as long as the limit, since the broker did not answer."""
    worker = Prompt()
    dog = Watchdog(worker, 3, lambda _parts: None)
    for _ in range(10):
        assert dog._look(3.0) is None
        while worker.later:
            worker.later.pop()(worker.signs)
    assert [dog._look(1.0) for _ in range(4)][-1] == "the main loop does not answer for 3 s"


def test_the_broker_is_away():
    """Then what waits cannot move: the broker is asked four times a limit, and nobody is ended."""
    waiting = Signs(lag={"deals": 3})
    assert looked(waiting, answers=False) == (None, 8)
    assert looked(waiting, answers=True)[0] == "3 records wait and nothing is committed for 60 s"


def test_a_certificate_that_is_being_replaced(tmp_path):
    """No client can be made to ask with: the watchdog lives, and so the kernel's alarm does not end a worker that is well."""
    settings = {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "SSL", "ssl.ca.location": str(tmp_path / "gone")}
    dog = Watchdog(Still(Signs(lag={"deals": 3})), 3, partial(broker_ends, Connection(settings, "app")))
    assert [dog._look(1.0) for _ in range(5)] == [None] * 5


def test_the_broker_is_away_and_a_commit_hangs():
    """Its calls have deadlines of their own: it is us."""
    assert looked(Signs(committing=True), answers=False)[0] == "a commit does not end for 20 s"


def test_a_fetch_that_brings_nothing():
    """The partition looks read to its end, but the broker knows of more; a moment of that is usual."""
    read = Signs(lag={"deals": 0}, reached={("events", 1): 70})
    found, _ = looked(read, answers=True, ends={("events", 1): 71})
    assert found == "events[1] ends at 71, but nothing is fetched beyond 70 for 60 s"
    assert looked(read, answers=True, ends={("events", 1): 70})[0] is None
    assert looked(read, answers=False)[0] is None


def test_what_has_only_just_come_has_not_waited():
    """However long the look before it is ago: looks at the broker may be far apart."""
    verdict, read = Verdict(LIMIT), Signs(reached={("events", 1): 70})
    assert verdict.fetching(read, {("events", 1): 70}, LIMIT) is None
    assert verdict.fetching(read, {("events", 1): 71}, LIMIT) is None
    assert verdict.fetching(read, {("events", 1): 71}, LIMIT) is not None


def test_one_partition_is_not_fetched_while_others_are():
    """Their room takes records and commits, which would hide it for ever; what is paused for a while is not stuck."""
    verdict, ends = Verdict(LIMIT), {("events", 0): 10_000, ("events", 1): 99}

    def looked_at(second: int, reached: dict[tuple[str, int], int]) -> str | None:
        signs = Signs(lag={"deals": 9}, taken={"deals": second}, commits=second, reached=reached)
        return verdict.unless_the_broker_is_away(signs, 15) or verdict.fetching(signs, ends, 15)

    for second in range(0, 300, 15):
        still = {("events", 1): 70} if second % 60 else {}
        assert looked_at(second, {("events", 0): second} | still) is None
    found = [looked_at(second, {("events", 0): second, ("events", 1): 70}) for second in range(300, 375, 15)]
    assert next(filter(None, found)) == "events[1] ends at 99, but nothing is fetched beyond 70 for 60 s"


_NOBODY_READS = """
import fcntl, os, time
from contextlib import suppress
from streams.kafka import watchdog

flags = fcntl.fcntl(2, fcntl.F_GETFL)
fcntl.fcntl(2, fcntl.F_SETFL, flags | os.O_NONBLOCK)
with suppress(BlockingIOError):
    while True:
        os.write(2, b"." * 4096)
fcntl.fcntl(2, fcntl.F_SETFL, flags)


class Still:
    beats = staticmethod(lambda: -1)
    ask = staticmethod(lambda answer: None)


watchdog.LAST_WORDS = 0.5
watchdog.Watchdog(Still(), 1.0, lambda _: {}).start()
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_nobody_reads_what_is_said():
    """Whoever collects the log stands still, which is also what most likely holds the worker up: it ends all the same."""
    command = [sys.executable, "-c", _NOBODY_READS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as worker:
        try:
            assert worker.wait(30) == 70
        finally:
            worker.kill()


# ------------------------------------------------------------------ real workers


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(90)
def test_a_fetch_that_brings_nothing_ends_the_worker(apache_kafka, new_flow):
    """What is fetched reaches no room: the worker thinks that it is up to date, the broker knows better."""
    flow, calm = new_flow(apache_kafka), new_flow(apache_kafka)
    for one in (flow, calm):
        one.send(500)
    worker, other = flow.worker(watchdog=4.0, hang="fetch"), calm.worker(watchdog=4.0)
    worker.wait_until(lambda status: status["hangs"])
    other.caught_up()
    time.sleep(8)  # at rest the ends of transactions are no records that wait
    assert worker.code is None, worker.log()
    flow.send(100)
    assert worker.wait(30) == 70, worker.log()
    assert "but nothing is fetched beyond" in worker.log()
    assert other.code is None, other.log()


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("loop", "the main loop does not answer for"),
        ("poll", "the poll thread does not come round for"),
        ("commit", "a commit does not end for"),
    ],
)
def test_a_hang_ends_the_worker(embedded_broker, new_flow, what, sentence):
    """Exit 70, one sentence that says what hangs, and where every thread stood."""
    flow = new_flow(embedded_broker)
    worker = flow.worker(watchdog=4.0, hang=what)
    worker.wait_until(lambda status: status["hangs"])
    flow.send(100)
    assert worker.wait(30) == 70, worker.log()
    [said] = [line for line in worker.log().splitlines() if line.startswith("dealpulse:")]
    assert said.startswith("dealpulse: this worker is stuck: ")
    assert sentence in said
    assert said.endswith("the process ends, restart it")
    assert "most recent call first" in worker.log()


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_python_itself_hangs(embedded_broker, new_flow):
    """No thread gets to say anything: the kernel's alarm ends the process, and all stacks are written down."""
    flow = new_flow(embedded_broker)
    worker = flow.worker(watchdog=2.0, hang="python")
    worker.wait_until(lambda status: status["hangs"])
    assert worker.wait(40) == -signal.SIGALRM
    assert "most recent call first" in worker.log()


HANGS = """
import ctypes, os, sys
from streams.kafka import watchdog

class Idle:
    def beats(self): return -1
    def ask(self, answer): answer(watchdog.Signs())

if sys.argv[1:]:
    os.getpid = lambda: 1  # also where no namespace is to be had
watchdog.LOOK_EVERY, watchdog.ALARM_AFTER = 0.1, 0.5
watchdog.Watchdog(Idle(), 0.5, lambda parts: {}).start()
ctypes.CDLL(None).usleep(300_000)  # it looks, and sets the alarm
ctypes.PyDLL(None).sleep(10)  # gives the interpreter to nobody
os._exit(0)
"""


@pytest.mark.parametrize("first", [False, True], ids=["", "the first process of a container"])
def test_the_alarm_ends_whoever_keeps_the_interpreter(first):
    """Also where the kernel ends a process by no signal that it does not handle."""
    container = ["unshare", "--user", "--map-root-user", "--pid", "--fork"] if first else []
    if first and (not which("unshare") or subprocess.run([*container, "true"], check=False, capture_output=True).returncode):
        container = []  # no namespaces here: what it does is tested, and not what the kernel does without it
    command = [*container, sys.executable, "-c", HANGS, *(["first"] if first else [])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == (signal.SIGALRM if first else -signal.SIGALRM), done.stderr
    assert "most recent call first" in done.stderr


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.timeout(90)
def test_idle_and_without_a_broker_it_lives(tmp_path):
    """Longer than the limit without a record, then without an answer of the broker; afterwards every sum is right."""
    with run_embedded_broker() as broker:
        flow = Flow(broker.url, tmp_path).create()
        try:
            flow.send(500)
            worker = flow.worker(watchdog=3.0)
            worker.caught_up()
            time.sleep(5)
            os.kill(broker.pid, signal.SIGSTOP)
            time.sleep(4)  # the group waits for 6, some of which may have passed before
            os.kill(broker.pid, signal.SIGCONT)
            assert worker.code is None, worker.log()
            flow.send(500)
            worker.wait_until(lambda status: status["caught_up"] and flow.counts()[0] >= flow.sent)
            flow.assert_exact()
            assert worker.code is None, worker.log()
        finally:
            flow.end()


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.timeout(90)
def test_a_frozen_worker_is_not_stuck(embedded_broker, new_flow):
    """Stopped for longer than the limit, it goes on where the group lets it."""
    flow = new_flow(embedded_broker)
    worker = flow.worker(watchdog=2.0)
    worker.caught_up()
    worker.freeze(3.0)  # the group waits for 6, of which two, and more on a busy machine, may have passed before
    flow.send(300)
    flow.assert_exact()
    assert worker.code is None, worker.log()
