"""What does a busy CRM send on a bad day?  A seeded stream of records: late, repeated, corrected, deleted, poisoned.

Everything is decided by the seed; nothing looks at a clock.  The right answer is not kept here: the audit computes it
from what the source topics hold.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from streams.topics import ACTIVITY, STAGE_CHANGE
from tests.flow import poison

REPEATED, LATE, POISONED = 0.10, 0.05, 0.005
BEGIN = datetime(2024, 3, 25, tzinfo=UTC)
STEP = timedelta(seconds=60)  # between two events: a month end and a change of the clocks within 10,000
REPS = tuple(f"rep-{number}" for number in range(12))
PATH = ("New", "Qualified", "Meeting", "Proposal")
SOURCES = ("web", "fair", "partner")
REGIONS = ("EU", "US", "UA")
PRODUCTS = ("basic", "plus", "pro")
CURRENCIES = ("EUR", "EUR", "UAH", "JPY")

Event = tuple[str, dict[str, Any]]


class Sent(NamedTuple):
    """One record; `reason` is why it must be refused."""

    topic: str
    key: bytes | None
    value: bytes | None
    reason: str | None = None


def definitions(**more: Any) -> dict[str, Any]:
    """Return settings with every cut and every kind of window; fewer windows of each kind than the default."""
    teams = ("Central", "East", "West")
    return {
        "partitions": 6,
        "flush_interval": "100ms",  # many flushes, many moments to die
        "business": {"zone": "Europe/Kyiv", "hours": "Mon-Fri 09:00-18:00"},
        "windows": ["24h", "28d", "week", "month", "all"],
        "reps": {rep: {"team": teams[number % 3], "region": "EU"} for number, rep in enumerate(REPS[:-1])},
        **more,
    }


def records(count: int, seed: int) -> Iterator[Sent]:
    """Yield `count` records."""
    dice = random.Random(seed)
    history = _in_order(dice)
    delayed: list[tuple[int, Sent]] = []
    recent: list[Sent] = []
    for number in range(count):
        delayed.sort(key=lambda one: -one[0])
        if dice.random() < POISONED:
            topic, key, value, reason = dice.choice(poison.ROWS)
            yield Sent(
                topic,
                dice.choice((key, key, b"d%d" % dice.randrange(10**6))) if reason == "not_json" else key,
                value,
                reason,
            )
        elif recent and dice.random() < REPEATED:
            yield dice.choice(recent)
        elif delayed and delayed[-1][0] <= number:
            yield _keep(recent, delayed.pop()[1], dice)
        else:
            sent = next(history)
            if dice.random() < LATE:
                delayed.append((number + int(dice.paretovariate(0.7) * 50), sent))
                sent = next(history)
            yield _keep(recent, sent, dice)


def _keep(recent: list[Sent], sent: Sent, dice: random.Random) -> Sent:
    """Remember the record, to be repeated soon or much later."""
    if len(recent) < 5_000:
        recent.append(sent)
    else:
        recent[dice.randrange(5_000)] = sent
    return sent


def _in_order(dice: random.Random) -> Iterator[Sent]:
    """Yield the events of ever new deals, interleaved, each as it happens."""
    story = Story()
    running: list[Iterator[Event]] = []
    serial = 0
    now = BEGIN
    while True:
        now += STEP
        if len(running) < 400 or dice.random() < 0.02:
            running.append(story.deal(serial, dice))
            serial += 1
        if dice.random() < 0.03:
            yield as_sent(story.lonely(now, serial, dice))
        place = dice.randrange(len(running))
        event = next(running[place], None)
        if event is None:
            running[place] = running[-1]
            running.pop()
            continue
        back = timedelta(days=event[1].pop("known_days_later", 0), seconds=dice.randrange(600))
        event[1]["occurred_at"] = (now - back).isoformat()
        serial += 1
        event[1]["event_id"] = event[1].pop("id", f"{serial}")
        yield as_sent(event)


def as_sent(event: Event) -> Sent:
    """Return an event as a record."""
    topic, value = event
    return Sent(topic, str(value.get("deal_id") or value["rep_id"]).encode(), orjson.dumps(value))


class Story:
    """What happens to deals: who has them, how long they last; a busier world says the rest of it anew."""

    path = PATH

    def rep(self, dice: random.Random) -> str:
        """Return whose a deal or an activity is."""
        return dice.choice(REPS)

    def acting(self, dice: random.Random) -> tuple[str | None, ...]:
        """Return whom an activity of a deal may name."""
        del dice
        return (*REPS[:3], None, None, None, None)

    def known_later(self, dice: random.Random) -> dict[str, Any]:
        """Return how an event says that it becomes known only days after it happened; whoever sends it takes that out."""
        return {"known_days_later": dice.randrange(20)}

    def lonely(self, now: datetime, serial: int | str, dice: random.Random) -> Event:
        """Return an activity without a deal."""
        return ACTIVITY, {
            "event_id": f"lonely-{serial}",
            "occurred_at": now.isoformat(),
            "rep_id": self.rep(dice),
            "type": dice.choice(("call", "email", "note")),
            "duration_s": dice.randrange(600),
        }

    def deal(self, serial: int | str, dice: random.Random) -> Iterator[Event]:
        """Yield what happens to one deal; whoever takes it adds id and time."""
        deal = {"deal_id": f"d{serial}"}
        yield STAGE_CHANGE, deal | self._first_words(dice) | {"to_stage": self.path[0]}
        for stage in self.path[1 : dice.randrange(2, len(self.path) + 2)]:
            for _ in range(dice.randrange(4)):
                yield ACTIVITY, deal | self._activity(dice)
            if dice.random() < 0.3:
                yield STAGE_CHANGE, deal | self._correction(dice)
            yield STAGE_CHANGE, deal | {"to_stage": stage, "from_stage": dice.choice((*self.path, None))}
        for _ in range(dice.randrange(3)):
            yield ACTIVITY, deal | self._activity(dice)
        if dice.random() < 0.8:
            yield (
                STAGE_CHANGE,
                deal | {"to_stage": dice.choice(("Won", "Lost", "Lost")), "amount": dice.randrange(10_000) / 4},
            )
        if dice.random() < 0.1:  # opened again
            yield STAGE_CHANGE, deal | {"to_stage": "Proposal"}
            yield STAGE_CHANGE, deal | self._correction(dice)
            yield STAGE_CHANGE, deal | {"to_stage": "Won"}
        if dice.random() < 0.05:
            yield STAGE_CHANGE, deal | {"deleted": True}
            if dice.random() < 0.4:
                yield STAGE_CHANGE, deal | {"deleted": False}

    def _first_words(self, dice: random.Random) -> dict[str, Any]:
        said = {
            "rep_id": self.rep(dice),
            "customer_id": dice.randrange(40),
            "product": dice.choice(PRODUCTS),
            "region": dice.choice(REGIONS),
            "lead_source": dice.choice(SOURCES),
            "amount": str(dice.randrange(1, 100_000) / 100),
            "currency": dice.choice(CURRENCIES),
        }
        return {name: value for name, value in said.items() if dice.random() < 0.9}

    def _activity(self, dice: random.Random) -> dict[str, Any]:
        kinds = ("call", "call", "email", "meeting", "message", "proposal", "task", "note")
        act: dict[str, Any] = {"type": dice.choice(kinds)}
        for name, values in (
            ("direction", ("inbound", "outbound", "outbound", None)),
            ("outcome", ("connected", "no_answer", None)),
            ("rep_id", self.acting(dice)),
            ("automated", (True, None, None, None, None)),
            ("duration_s", (None, 0, 61.5, 300)),
        ):
            if (value := dice.choice(values)) is not None:
                act[name] = value
        return act

    def _correction(self, dice: random.Random) -> dict[str, Any]:
        """Return a new owner, another amount or currency, a value taken away, or a change known only days later."""
        kind = dice.randrange(5)
        if kind == 0:
            return {"rep_id": self.rep(dice)}
        if kind == 1:
            return {"amount": dice.randrange(1, 10_000), "currency": dice.choice(CURRENCIES)}
        if kind == 2:
            return {"clear": [dice.choice(("rep_id", "region", "amount", "product"))]}
        if kind == 3:
            return {"region": dice.choice(REGIONS), "lead_source": dice.choice(SOURCES)}
        return {**self.known_later(dice), "product": dice.choice(PRODUCTS), "amount": dice.randrange(500)}
