"""Does the poll thread hand over what came, and stop fetching what nobody takes?"""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.kafka import poll
from streams.kafka.clients import Connection
from streams.kafka.inbox import MAX_RECORDS, Inbox, Run
from streams.kafka.poll import PollThread


class EndedError(Exception):
    """Stands for the end of the process."""


def record(topic, partition, offset, error=None):
    return SimpleNamespace(
        topic=lambda: topic, partition=lambda: partition, offset=lambda: offset, error=lambda: error, value=lambda: b"1"
    )


class Sized(SimpleNamespace):
    """A record with a size."""

    def __len__(self):
        return 3


def sized(topic, partition, offset):
    return Sized(**record(topic, partition, offset).__dict__)


@pytest.fixture
def ended(monkeypatch):
    """Collect the sentences the process ends with."""
    said = []

    def lose_place(sentence, error=None, **_remedy):
        said.append(sentence)
        raise EndedError

    monkeypatch.setattr(poll, "lose_place", lose_place)
    return said


@pytest.fixture
def thread():
    """Return a poll thread that never starts, with a generation."""
    arrivals = []
    owner = SimpleNamespace(fail=poll.lose_place, arrived=lambda _inbox, runs, ends: arrivals.append((runs, ends)))
    made = PollThread(Connection({"bootstrap.servers": "127.0.0.1:1"}, "app"), owner, 0.2)
    made._inbox = Inbox(1)
    made._fetching = frozenset({("a", 0), ("a", 1)})
    made._end_of = lambda _part: -1  # nothing is fetched from anywhere
    made.arrivals = arrivals
    logging.getLogger("dealpulse.librdkafka").setLevel(logging.CRITICAL)
    return made


END = KafkaError(KafkaError._PARTITION_EOF)


def test_records_become_one_run_per_partition(thread):
    """Order is kept, sizes are counted."""
    thread._hand_over(thread._inbox, [sized("a", 0, 5), sized("a", 1, 9), sized("a", 0, 7)])
    [(runs, ends)] = thread.arrivals
    assert [(run.topic, run.partition, run.first, run.next, run.bytes) for run in runs] == [
        ("a", 0, 5, 8, 6),
        ("a", 1, 9, 10, 3),
    ]
    assert ends == {}


def test_the_end_of_a_partition_counts_until_something_comes_after_it(thread):
    """Only the last word of a poll tells whether we stand at the end."""
    thread._hand_over(thread._inbox, [sized("a", 0, 5), record("a", 0, 7, END), record("a", 1, 3, END), sized("a", 1, 3)])
    [(_, ends)] = thread.arrivals
    assert ends == {("a", 0): 7}


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (KafkaError._AUTO_OFFSET_RESET, "input was lost"),
        (KafkaError._MAX_POLL_EXCEEDED, "max.poll.interval.ms"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "reading a[0] failed: TOPIC_AUTHORIZATION_FAILED"),
    ],
)
def test_an_error_that_does_not_pass_ends_the_process(ended, thread, code, sentence):
    """Each with its own sentence."""
    with pytest.raises(EndedError):
        thread._hand_over(thread._inbox, [record("a", 0, 5, KafkaError(code))])
    assert sentence in ended[0]


def test_an_error_of_the_group_is_no_partitions(ended, thread):
    """Nobody has to look for a partition of no topic."""
    with pytest.raises(EndedError):
        thread._hand_over(
            thread._inbox, [record(None, 0, -1, KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "JoinGroup failed"))]
        )
    assert ended == ["reading as a member of the group failed: GROUP_AUTHORIZATION_FAILED: JoinGroup failed"]


def test_a_lost_connection_passes(thread):
    """The client comes back by itself."""
    thread._hand_over(thread._inbox, [record("a", 0, 5, KafkaError(KafkaError._TRANSPORT))])
    assert thread.arrivals == [([], {})]


def test_a_partition_is_read_up_to_where_it_shall_be(thread):
    """It has ended there; what is beyond is dropped, and it is not fetched again however empty the inbox is."""
    paused = []
    thread._consumer = SimpleNamespace(pause=paused.extend)
    thread._until = {("a", 0): 7, ("a", 1): 4}
    thread._hand_over(thread._inbox, [sized("a", 0, 5), sized("a", 0, 6), sized("a", 1, 3)])
    thread._hand_over(thread._inbox, [sized("a", 1, 4), sized("a", 0, 6), sized("a", 0, 8)])
    thread._regulate()
    assert [([(run.partition, run.first, run.next) for run in runs], ends) for runs, ends in thread.arrivals] == [
        ([(0, 5, 7), (1, 3, 4)], {}),
        ([(0, 6, 7)], {("a", 0): 7, ("a", 1): 4}),
    ]
    assert {(one.topic, one.partition) for one in paused} == thread._paused == {("a", 0), ("a", 1)}
    assert thread.reached() == {}


def test_what_was_polled_for_another_generation_is_dropped(thread):
    """A rebalance came within the poll, or the new generation has not begun to fetch."""
    before, thread._inbox = thread._inbox, Inbox(2)
    thread._hand_over(before, [sized("a", 0, 5)])
    thread._fetching = frozenset()
    thread._hand_over(thread._inbox, [sized("a", 0, 5)])
    assert thread.arrivals == []
    assert thread._next == {}


def test_a_topic_that_nobody_takes_is_paused_and_comes_back(thread, monkeypatch):
    """After a moment, so that rebalances are answered; the other topic goes on."""
    monkeypatch.setattr(poll, "MAX_STALL", 0.02)
    calls = []
    thread._consumer = SimpleNamespace(
        pause=lambda parts: calls.append(("pause", [part.topic for part in parts])),
        resume=lambda parts: calls.append(("resume", [part.topic for part in parts])),
        seek=lambda part: calls.append(("seek", part.topic, part.offset)),
        assign=lambda _parts: None,
    )
    thread._start_fetching(thread._inbox, {("a", 0): 3, ("b", 0): 4})
    big = Run("a", 0, [None] * MAX_RECORDS, 0, 0, 0)
    thread._inbox.announce(big)
    thread._regulate()
    thread._regulate()
    assert calls == [("pause", ["a"])]
    thread._inbox.done(big)
    thread._regulate()
    assert calls == [("pause", ["a"]), ("seek", "a", 3), ("resume", ["a"])]


def test_what_others_wait_for_is_fetched_at_once(thread):
    """A full partition is paused without a stall; one that runs short goes on although it holds its part, up to twice."""
    calls = []
    thread._consumer = SimpleNamespace(
        pause=lambda parts: calls.append(("pause", [(part.topic, part.partition) for part in parts])),
        resume=lambda parts: calls.append(("resume", [(part.topic, part.partition) for part in parts])),
        seek=lambda part: None,
        assign=lambda _parts: None,
    )
    inbox = thread._inbox
    thread._start_fetching(inbox, {(topic, partition): 0 for topic in "ab" for partition in (0, 1)})
    for partition in (0, 1):
        inbox.announce(Run("a", partition, [None] * (MAX_RECORDS // 2), 0, 0, 0))
    inbox.wanted = frozenset({("a", 1), ("b", 0)})
    started = time.monotonic()
    thread._regulate()
    assert calls == [("pause", [("a", 0)])]
    inbox.announce(Run("a", 1, [None] * (MAX_RECORDS // 2), 0, 0, 0))
    thread._regulate()
    inbox.wanted = frozenset({("a", 0)})
    thread._regulate()
    assert calls[1:] == [("pause", [("a", 1)]), ("resume", [("a", 0)])]
    assert time.monotonic() - started < poll.MAX_STALL / 2


def test_where_a_partition_ends_is_told_once_something_came_of_it(thread):
    """Until then the client knows where it ended when we had it last: it would seem to be read to its end, with a backlog in it."""
    told = []
    thread._owner.highs = told.append
    thread._end_of = lambda _part: 100
    thread._look_at_ends()
    thread._hand_over(thread._inbox, [sized("a", 0, 5), record("a", 1, 100, END)])
    thread._highs_at = 0.0
    thread._look_at_ends()
    thread._consumer = SimpleNamespace(resume=lambda _parts: None)
    thread._reset()
    thread._fetching, thread._highs_at = frozenset({("a", 0)}), 0.0
    thread._look_at_ends()
    assert told == [{}, {("a", 0): 100, ("a", 1): 100}, {}]


def test_long_runs_are_cut(thread, monkeypatch):
    """They are counted out one by one, and each knows its place."""
    monkeypatch.setattr(poll, "MAX_RUN", 2)
    thread._hand_over(thread._inbox, [sized("a", 0, offset) for offset in (3, 5, 6, 7, 9)])
    [(runs, _)] = thread.arrivals
    assert [(run.first, run.next, len(run.records), run.bytes) for run in runs] == [
        (3, 6, 2, 6),
        (6, 8, 2, 6),
        (9, 10, 1, 3),
    ]


class Paused:
    """A poll thread on a broker whose only partition held one record, was read to its end, and is paused since."""

    def __init__(self, broker):
        client = {"bootstrap.servers": broker.removeprefix("kafka://")}
        self.topic = f"paused-{uuid4().hex}"
        admin = AdminClient(client)  # kept until it has answered
        admin.create_topics([NewTopic(self.topic, 1, 1)])[self.topic].result(10)
        self.producer = Producer(client)
        self.arrivals = []
        owner = SimpleNamespace(
            arrived=lambda _inbox, runs, ends: self.arrivals.append((runs, ends)),
            assigned=lambda _parts, _metadata: Inbox(2),
            revoked=lambda: None,
        )
        self.thread = PollThread(Connection(client, "app"), owner, 0.2)
        self.thread._inbox = Inbox(1)
        self.send(b"first")
        self.fetch(0)
        assert self.read_to_the_end() == [b"first"]
        self.held = Run(self.topic, 0, [None] * MAX_RECORDS, 0, 0, 0)
        self.thread._inbox.announce(self.held)
        self.thread._regulate()
        assert self.thread._paused == {(self.topic, 0)}
        assert self.thread.reached() == {}

    def send(self, value):
        self.producer.produce(self.topic, value)
        assert self.producer.flush(10) == 0

    def fetch(self, offset):
        self.thread._start_fetching(self.thread._inbox, {(self.topic, 0): offset})

    def read_to_the_end(self):
        """Return what comes until the end of the partition, for ten seconds at most."""
        self.arrivals.clear()
        end = time.monotonic() + 10
        while not any((self.topic, 0) in ends for _, ends in self.arrivals) and time.monotonic() < end:
            self.thread._hand_over(
                self.thread._inbox, self.thread._consumer.consume(100, 0.2)
            )  # poll() alone has no trouble with an end
        return [value.value() for runs, _ in self.arrivals for run in runs for value in run.records]


@pytest.fixture
def paused(broker, monkeypatch):
    """Return a partition that is paused."""
    monkeypatch.setattr(poll, "MAX_STALL", 0.02)
    made = Paused(broker)
    yield made
    made.thread._consumer.close()


@pytest.mark.slow
def test_a_record_that_comes_while_its_partition_is_paused_at_its_end_is_read(paused):
    """The client believes that the end of a partition was a record, and would go on behind the next one."""
    paused.send(b"second")
    paused.thread._inbox.done(paused.held)
    paused.thread._inbox = Inbox(1)  # nothing waits
    paused.thread._regulate()
    assert paused.read_to_the_end() == [b"second"]


@pytest.mark.slow
def test_a_pause_ends_with_its_generation(paused):
    """The client still knows of it when the partition comes back, and nobody would take it back."""
    thread = paused.thread
    thread._on_revoke(thread._consumer, [])
    thread._consumer.unassign()  # as the binding does
    member = SimpleNamespace(consumer_group_metadata=lambda: None, assign=thread._consumer.assign)
    thread._on_assign(member, [SimpleNamespace(topic=paused.topic, partition=0)])
    paused.fetch(0)
    assert paused.read_to_the_end() == [b"first"]


def test_a_command_of_an_old_generation_is_not_obeyed(thread):
    """Partitions restored for yesterday's assignment are not fetched."""
    thread._consumer, before = None, thread._fetching  # any call would fail
    thread._start_fetching(Inbox(0), {("b", 0): 5})
    assert thread._fetching is before


def test_nobody_is_told_twice_that_we_leave(ended, thread):
    """close() calls back; then everything is settled already."""
    thread.leave()
    thread._on_revoke(None, [])
    thread._on_lost(None, [])
    thread._on_assign(None, [])
    assert ended == []


def test_lost_partitions_end_the_process(ended, thread):
    """Somebody else has them already."""
    with pytest.raises(EndedError):
        thread._on_lost(None, [])
    assert "gave our partitions away" in ended[0]
