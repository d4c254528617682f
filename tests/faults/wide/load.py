"""What does a busy CRM send on a bad day?  A seeded stream of records: late, repeated, corrected, deleted, poisoned.

Everything is decided by the seed; nothing looks at a clock.  The right answer is not kept here: the audit computes it
from what the source topics hold.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from streams.topics import ACTIVITY, STAGE_CHANGE
from tests.faults.load import BEGIN, Event, Sent, Story, as_sent
from tests.flow import poison

# Shares of what is sent.
REPEATED = 0.10  # half of them within ten minutes of event time, half later
SHUFFLED = 0.05  # sent behind up to some thousand others
VERY_LATE = 0.01  # known only days later
SKEWED = 0.005  # by a clock that is up to two hours off
POISONED = 0.005
LONG = 0.005  # events of a deal that has more stage events and activities than a record holds; one such deal at a time

RUNNING = 1_000  # deals
LONG_DEAL = 1_200  # events of it
TEN_MINUTES = 600.0
REPS = tuple(f"rep-{number}" for number in range(200))
_ZIPF = tuple(itertools.accumulate(1 / (rank + 1) for rank in range(len(REPS))))
PATH = ("New", "Qualified", "Meeting", "Demo", "Proposal")
STAGES = [
    {"name": "New", "kind": "lead"},
    {"name": "Qualified", "qualified": True, "opportunity": True},
    {"name": "Meeting", "meeting": True},
    {"name": "Demo"},
    {"name": "Proposal", "proposal": True, "limit_days": 14, "probability": 0.4},
    {"name": "Won", "kind": "won"},
    {"name": "Lost", "kind": "lost"},
]


def definitions(**more: Any) -> dict[str, Any]:
    """Return settings with every cut and every kind of window; fewer windows of each kind than the default."""
    teams = ("Central", "East", "West", "North", "South", "Inbound", "Partners", "Renewals")
    return {
        "partitions": 12,
        "flush_interval": "100ms",  # many flushes, many moments to die
        "pipelines": {"default": {"maturity_days": 14, "stages": STAGES}},
        "business": {"zone": "Europe/Kyiv", "hours": "Mon-Fri 09:00-18:00"},
        "windows": ["24h", "28d", "week", "month", "all"],
        "reps": {rep: {"team": teams[number % 8], "region": "EU"} for number, rep in enumerate(REPS[:-20])},
        **more,
    }


def records(
    count: int,
    seed: int,
    step: float = 60.0,
    name: str = "",
    long: float = LONG,
    begin: datetime = BEGIN,
    running: int = RUNNING,
) -> Iterator[Sent]:
    """Yield `count` records from `begin` on; `step` is the event time between two events, in seconds; `name` makes other deals and ids.

    `running`: how many deals something happens to at a time. `long` is the share of events of long deals. Whoever does not read the two topics in step must leave them out: what comes
    to a full record too late is refused.
    """
    dice = random.Random(seed)
    history = _in_order(dice, step, name, long, begin, running)
    soon = max(2, round(TEN_MINUTES / step))
    waiting: list[tuple[int, int, Sent]] = []  # due at that number, serial
    serial = itertools.count()
    sent = 0
    while sent < count:
        if dice.random() < POISONED:
            yield _poison(dice)
        elif waiting and waiting[0][0] <= sent:
            yield heapq.heappop(waiting)[2]
        else:
            one = next(history)
            of_long = one.key is not None and one.key.startswith(b"long")
            if dice.random() < REPEATED:
                away = dice.randrange(1, soon) if of_long or dice.random() < 0.5 else soon + dice.randrange(50 * soon)
                heapq.heappush(waiting, (sent + away, next(serial), one))
            if dice.random() < SHUFFLED:
                away = min(100 if of_long else 5_000, int(dice.paretovariate(0.7) * 20))
                heapq.heappush(waiting, (sent + away, next(serial), one))
                continue
            yield one
        sent += 1


def _poison(dice: random.Random) -> Sent:
    topic, key, value, reason = dice.choice(poison.ROWS)
    elsewhere = reason == "not_json" and dice.random() < 0.3
    return Sent(topic, b"d%d" % dice.randrange(10**6) if elsewhere else key, value, reason)


def _in_order(  # what `records` was asked for
    dice: random.Random, step: float, name: str, long: float, now: datetime, most: int
) -> Iterator[Sent]:
    """Yield the events of ever new deals, interleaved, each as it happens."""
    story = _Busier()
    running: list[Iterator[Event]] = []
    long_deal: Iterator[Event] = iter(())
    serial = 0
    while True:
        now += timedelta(seconds=step)
        serial += 1
        if dice.random() < long:
            if (event := next(long_deal, None)) is None:
                long_deal = story.long_deal(f"long-{name}{serial}", dice)
                event = next(long_deal)
            # In time, or nearly: a full record refuses what is late by more than some thirty of its events.
            event[1].update(occurred_at=now.isoformat(), event_id=f"{name}{serial}")
            yield as_sent(event)
            continue
        if len(running) < most or dice.random() < 0.02:
            running.append(story.deal(f"{name}{serial}", dice))
            serial += 1
        if dice.random() < 0.03:
            serial += 1
            yield as_sent(story.lonely(now, f"{name}{serial}", dice))
        place = dice.randrange(len(running))
        event = next(running[place], None)
        if event is None:
            running[place] = running[-1]
            running.pop()
            continue
        back = timedelta(microseconds=dice.randrange(600_000_000))
        if dice.random() < VERY_LATE or event[1].pop("known_later", False):
            back += timedelta(seconds=dice.randrange(86_400, 25 * 86_400))
        if dice.random() < SKEWED:
            back += timedelta(seconds=dice.randrange(-7_200, 7_200))
        event[1]["occurred_at"] = (now - back).isoformat()
        serial += 1
        event[1]["event_id"] = f"{name}{serial}"
        yield as_sent(event)


class _Busier(Story):
    """Two hundred reps of whom few have most of the deals."""

    path = PATH

    def rep(self, dice: random.Random) -> str:
        return dice.choices(REPS, cum_weights=_ZIPF)[0]

    def acting(self, dice: random.Random) -> tuple[str | None, ...]:
        return (self.rep(dice), None, None)

    def known_later(self, dice: random.Random) -> dict[str, Any]:
        del dice
        return {"known_later": True}

    def long_deal(self, name: str, dice: random.Random) -> Iterator[Event]:
        """Yield a deal that wanders between the stages, is won and opened again; three of five of its events are activities."""
        deal = {"deal_id": name}
        yield STAGE_CHANGE, deal | {"rep_id": self.rep(dice), "to_stage": self.path[0]}
        for number in range(2, LONG_DEAL):
            if number % 5 > 1:
                yield ACTIVITY, deal | self._activity(dice)
            elif dice.random() < 0.7:
                yield STAGE_CHANGE, deal | {"to_stage": dice.choice((*self.path, "Won", "Lost"))}
            else:
                yield STAGE_CHANGE, deal | dice.choice(({"rep_id": self.rep(dice)}, {"amount": number, "currency": "EUR"}))
        yield STAGE_CHANGE, deal | {"to_stage": "Won"}
