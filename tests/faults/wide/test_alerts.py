"""Is every alert told, and only once, whoever dies?  Conversions that drop and recover, workers that are killed, a Slack that listens.

What the alerts have to judge is known from the feed, which counts; what follows from it is the same fold as without any fault.
Now and then Slack hears a message and does not say so, and all workers die: the message must come again.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from streams.alerts.room import AlertsRoom
from streams.backtest.wired import PARTITION, Record
from streams.cli.read import last_of_every_key
from streams.environment import Secret
from streams.kafka.room import Moment, StateTable
from streams.notify.message import text
from streams.topics import ALERT_EVENTS, ALERTS, MATURED, STAGE_CHANGE
from tests.faults.load import Sent
from tests.faults.wide.crew import Crew
from tests.faults.wide.dose import SEED, dose, patience
from tests.flow.webhook import FakeSlack, listening

pytestmark = patience(240, 1_500)

FIRST = datetime(2024, 3, 4, 9, tzinfo=UTC)
REPS = tuple(f"rep-{number}" for number in range(12))
LEADS = 20  # of each rep, a day
BEFORE, BAD, AFTER = 3, 4, 12  # days: at least as usual, then bad, then as usual again; a rep in five has no bad days
DAYS = dose("ALERT_DAYS", 20, 40)
KILLS = dose("ALERT_KILLS", 3, 30)
SILENCES = dose("ALERT_SILENCES", 1, 5)
# Seconds: in every other silence the workers live on until they know that there is no answer, and could have taken that for one.
NOTICED = 2.5
LAST_WORDS = 30.0  # seconds; who takes over after a death in a flush waits for less
RULE = {"name": "wins", "kind": "conversion_drop", "cut": "rep", "baseline": 0.5, "budget_days": 365}
DEFINITIONS = {
    "partitions": 12,
    "flush_interval": "100ms",
    "windows": ["day", "all"],
    "cuts": ["all", "rep"],
    "pipelines": {
        "default": {"maturity_days": 1, "stages": [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]}
    },
    "rules": [RULE],
    "slack": {"catch_up_limit": "20000d"},
}

Counted = dict[tuple[str, int], tuple[int, int]]  # rep, ordinal of the day → leads, won in time


def days(dice: random.Random, counted: Counted) -> Iterator[list[Sent]]:
    """Yield what is sent of each day, in time order; add to `counted` what it comes to."""
    begins = {rep: dice.randrange(BEFORE, DAYS - AFTER) if dice.random() < 0.8 else DAYS for rep in REPS}
    for day in range(DAYS):
        found = []
        for rep in REPS:
            share = 0.1 if begins[rep] <= day < begins[rep] + BAD else 0.5
            won = sum(dice.random() < share for _ in range(LEADS))
            at = FIRST + timedelta(days=day)
            counted[rep, at.toordinal()] = (LEADS, won)
            for number in range(LEADS):
                deal = f"{rep}-{day}-{number}"
                for hour, stage in enumerate(("New", "Won") if number < won else ("New",)):
                    when = at + timedelta(hours=hour, seconds=dice.randrange(3_600))
                    said = {"event_id": hour, "deal_id": deal, "rep_id": rep, "to_stage": stage}
                    found.append((when, deal, said))
        found.sort(key=lambda one: one[0])
        yield [
            Sent(STAGE_CHANGE, deal.encode(), orjson.dumps({**said, "occurred_at": when.isoformat()}))
            for when, deal, said in found
        ]


def test_every_pane_is_judged_once_and_every_alert_told(crew):
    """Each rep and day is judged once, as counted; each transition stands once and is heard at least once, in order; no other."""
    dice, counted = random.Random(SEED + 80), Counted()
    with listening() as slack:
        some = crew(definitions=DEFINITIONS, environment={"slack_webhook": Secret(slack.url)})
        some.join_ready(dose("ALERT_WORKERS", 2, 3))
        some.progress.start()
        silence = Silence(some, slack)
        for day, records in enumerate(days(dice, counted)):
            some.send(records)
            time.sleep(dice.uniform(0, 1))
            silence.look()
            for _ in range((day + 1) * KILLS // DAYS - day * KILLS // DAYS):
                some.kill(dice.choice(some.living))
                some.join()
                time.sleep(dice.uniform(0, 3))
        silence.go_on()
        some.assert_exact()
        heard, unanswered = list(slack.texts), Counter(one["text"] for one in slack.unanswered)
    panes = _judged(some, counted)
    events = [orjson.loads(one.value()) for one in some.installation.messages(ALERT_EVENTS)]
    expected = _told_of(panes, some.installation.settings.definitions)
    by_alert = {(one["fingerprint"], one["revision"]): one for one in events}
    assert len(by_alert) == len(events)
    assert by_alert == {(one["fingerprint"], one["revision"]): one for one in expected}
    assert {one["transition"] for one in events} == {"fired", "resolved"}
    stand = {key.decode(): orjson.loads(value) for key, value in last_of_every_key(some.installation.client, ALERTS).items()}
    assert {mark: alert["revision"] for mark, alert in stand.items()} == dict(sorted(by_alert))  # the highest comes last
    _assert_heard_in_order(heard, events)
    answered = Counter(heard) - unanswered
    assert answered.keys() == set(heard), "nobody knows that this was heard, and it did not come again"
    assert answered.total() - len(answered) <= some.done["kill -9"]
    some.report(
        "alerts",
        "conversions drop and recover, and workers are killed: panes judged, alert events, messages",
        panes_judged=len(panes),
        alert_events=len(events),
        messages=len(answered),
        messages_unanswered=unanswered.total(),
        messages_repeated_although_answered=answered.total() - len(answered),
        silences=silence.times,
    )


class Silence:
    """Slack hears a message and does not say so, and all workers die; then it answers until one is told, and so on."""

    def __init__(self, crew: Crew, slack: FakeSlack) -> None:
        self.times = 0
        self._crew, self._slack = crew, slack
        self._unanswered, self._answered = 0, -1  # messages, when this silence, or the talk between two, began
        self._heard_at = 0.0  # the first that was not answered in this silence

    def look(self) -> None:
        """Be silent from now on, or no more, where it is time for that."""
        slack, unanswered = self._slack, len(self._slack.unanswered)
        answered = len(slack.heard) - unanswered
        if slack.silent and unanswered > self._unanswered:
            self._heard_at = self._heard_at or time.monotonic()
            if time.monotonic() - self._heard_at < NOTICED * (self.times % 2 == 0):
                return
            self._heard_at = 0.0
            dying = self._crew.living
            for worker in dying:
                self._crew.kill(worker)
            self.times, self._answered, slack.silent = self.times + 1, answered, False
            for _ in dying:
                self._crew.join()
        elif not slack.silent and self.times < SILENCES and answered > self._answered:
            self._unanswered, slack.silent = unanswered, True

    def go_on(self) -> None:
        """Look until the dose is done, or Slack hears no more; it must have been silent once."""
        heard, since = len(self._slack.heard), time.monotonic()
        while self.times < SILENCES and (self.times == 0 or time.monotonic() - since < LAST_WORDS):
            self.look()
            time.sleep(0.1)
            if len(self._slack.heard) > heard:
                heard, since = len(self._slack.heard), time.monotonic()
        self._slack.silent = False


def _judged(some, counted: Counted) -> list[bytes]:
    """Return the panes that were judged, by day: each once, as counted, and all of them up to the last but a few days."""
    panes = [one.value() for one in some.installation.messages(MATURED)]
    read = [(pane, value) for value in panes if (pane := orjson.loads(value))["rule"]]
    found = {(pane["entity"][1], pane["day"]): (pane["n"], pane["k"]) for pane, _ in read}
    assert len(found) == len(read), "a pane was judged twice"
    last = max(day for _, day in found)
    assert last >= max(day for _, day in counted) - 3
    assert found == {one: numbers for one, numbers in counted.items() if one[1] <= last}
    return [value for pane, value in sorted(read, key=lambda one: one[0]["day"])]


def _told_of(panes: list[bytes], definitions) -> list[dict]:
    """Return the alert events that follow from panes when nothing goes wrong."""
    room = AlertsRoom(definitions)
    room.open(PARTITION, StateTable())
    room.handle(PARTITION, MATURED, [Record(MATURED, pane) for pane in panes])
    told = room.drain(Moment(0, frozenset()))
    return [orjson.loads(value) for topic, _, _, value, _ in told if topic == ALERT_EVENTS]


def _assert_heard_in_order(heard: list[str], events: list[dict]) -> None:
    """Each event was heard, those of an alert in their order, and nothing else."""
    assert set(heard) == {text(event) for event in events}
    for mark in {event["fingerprint"] for event in events}:
        own = [text(one) for one in sorted((e for e in events if e["fingerprint"] == mark), key=lambda one: one["revision"])]
        places = [heard.index(one) for one in own]
        assert places == sorted(places), own


def test_a_lost_pane_would_be_seen():
    """The check of the panes is one."""

    class Installation:
        def messages(self, _topic: str) -> list[Record]:
            return [Record(MATURED, orjson.dumps({"rule": "wins", "entity": ["rep", "a"], "day": 7, "n": 20, "k": 9}))]

    class Crew:
        installation = Installation()

    assert len(_judged(Crew, {("a", 7): (20, 9)})) == 1
    with pytest.raises(AssertionError):
        _judged(Crew, {("a", 7): (20, 9), ("b", 7): (20, 9)})
    with pytest.raises(AssertionError):
        _judged(Crew, {("a", 7): (20, 10)})
