"""What does the demo add to the recorded data?  An inbound pipeline that is simulated, and says so in every event.

The recorded set knows only days; leads that are called after minutes, a stage whose conversion drops and a
team that answers late have to be made.  They live in a pipeline, in teams and with reps of their own, so that
every number of the recorded pipeline stays what it is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from streams.topics import ACTIVITY, STAGE_CHANGE

Event = tuple[str, dict[str, Any]]  # topic, value

PIPELINE = "inbound"
PREFIX = "SIM-"
SEED = 20_240_229
MATURITY_DAYS = 5
TEAMS = {
    "Inbound North": ("Sim Astrid", "Sim Bohdan", "Sim Chiara"),
    "Inbound South": ("Sim Dmytro", "Sim Elena", "Sim Farid"),
    "Inbound East": ("Sim Greta", "Sim Hanna", "Sim Ivo"),
    "Inbound West": ("Sim Jonas", "Sim Kateryna", "Sim Liam"),
}
DAYS = 200
LEADS_A_DAY = (22, 28)
UNANSWERED = 0.02

# What goes wrong, for the alert rules to find.
QUALIFIED, QUALIFIED_DROPPED, DROP_DAYS = 0.30, 0.08, 21
RESPONSE_MEDIAN, RESPONSE_SPREAD = timedelta(minutes=25), 0.8
SLOW_TEAM, SLOW_MEDIAN, SLOW_DAYS = "Inbound East", timedelta(hours=4), 14

LABEL = {"simulated": True}


def definitions() -> dict[str, Any]:
    """Return what dealpulse.yaml must say about the simulated part."""
    stages = [
        {"name": "New", "kind": "lead"},
        {"name": "Qualified", "kind": "open", "qualified": True, "opportunity": True},
        {"name": "Won", "kind": "won"},
        {"name": "Lost", "kind": "lost"},
    ]
    reps = {rep: {"team": team} for team, members in TEAMS.items() for rep in members}
    return {"pipelines": {PIPELINE: {"maturity_days": MATURITY_DAYS, "stages": stages}}, "reps": reps}


def history(now: datetime, seed: int = SEED) -> list[Event]:
    """Return the events of the last DAYS days up to `now`, in order of time.

    Weeks are counted back from the present Monday and each day draws from a source of its own, so that the
    same day of the week always gives the same history.
    """
    monday = now.date() - timedelta(days=now.weekday())
    found: list[Event] = []
    for ago in range(DAYS + 7):
        day = monday + timedelta(days=6 - ago)
        if day.weekday() < 5 and now.date() - timedelta(days=DAYS) <= day <= now.date():
            found += _day(datetime.combine(day, time(9), UTC), now, random.Random(f"{seed}/{ago}"))  # noqa: S311  # no secret
    until = stamp(now)
    return sorted((one for one in found if one[1]["occurred_at"] <= until), key=_in_order)


def _in_order(event: Event) -> tuple[str, str]:
    return event[1]["occurred_at"], event[1]["event_id"]


def _day(opening: datetime, now: datetime, rng: random.Random) -> Iterator[Event]:
    for number in range(rng.randint(*LEADS_A_DAY)):
        created = opening + timedelta(seconds=rng.randrange(8 * 3600))
        deal_id = f"{PREFIX}{opening:%Y%m%d}-{number:02}"
        yield from Lead(deal_id, created, rng).events(now)


@dataclass
class Lead:
    """One simulated lead and its whole life."""

    deal_id: str
    created: datetime
    rng: random.Random
    team: str = ""
    rep: str = ""

    def __post_init__(self) -> None:
        """Give the lead to a rep."""
        self.team = self.rng.choice(tuple(TEAMS))
        self.rep = self.rng.choice(TEAMS[self.team])

    def events(self, now: datetime) -> Iterator[Event]:
        """Yield everything that ever happens to it, not in order; how well it goes depends on how recent it is."""
        yield self.stage("New", self.created)
        # An automatic confirmation, which is no response.
        yield self.activity("email", self.created + timedelta(seconds=20), automated=True)
        yield from self._contacts(slow=self.team == SLOW_TEAM and self.created >= now - timedelta(days=SLOW_DAYS))
        dropped = self.created >= now - timedelta(days=DROP_DAYS)
        yield from self._outcome(QUALIFIED_DROPPED if dropped else QUALIFIED)

    def _contacts(self, *, slow: bool) -> Iterator[Event]:
        median = SLOW_MEDIAN if slow else RESPONSE_MEDIAN
        delay = median * math.exp(self.rng.gauss(0.0, RESPONSE_SPREAD))
        if self.rng.random() < UNANSWERED:
            return
        answered = self.created + delay
        yield self.call(answered)
        for _ in range(self.rng.randrange(3)):
            yield self.activity("email", answered + timedelta(hours=self.rng.uniform(1, 60)))
        if self.rng.random() < 0.3:
            reply = answered + timedelta(hours=self.rng.uniform(2, 30))
            yield self.activity("email", reply, direction="inbound", outcome=self.rng.choice(("positive", "neutral")))

    def _outcome(self, share: float) -> Iterator[Event]:
        if self.rng.random() < share:
            qualified = self.created + timedelta(days=self.rng.uniform(1, 3))
            yield self.stage("Qualified", qualified)
            yield self.activity("meeting", qualified + timedelta(days=1), direction="outbound", outcome="held")
            won = self.rng.random() < 0.45
            yield self.stage("Won" if won else "Lost", qualified + timedelta(days=self.rng.uniform(3, 20)))
        elif self.rng.random() < 0.85:
            yield self.stage("Lost", self.created + timedelta(days=self.rng.uniform(4, 10)))

    def stage(self, name: str, at: datetime) -> Event:
        """Return a stage event; the first one says whose the lead is and that it is simulated."""
        value: dict[str, Any] = {"event_id": f"{self.deal_id}-{name}", "occurred_at": stamp(at), "deal_id": self.deal_id}
        value |= {"pipeline": PIPELINE, "to_stage": name}
        if name == "New":
            value |= {"rep_id": self.rep, "lead_source": "simulated", "attributes": LABEL}
        return STAGE_CHANGE, value

    def call(self, at: datetime) -> Event:
        """Return an outbound call by a person."""
        outcome = self.rng.choices(("connected", "no_answer", "voicemail"), (45, 35, 20))[0]
        spoken = {"duration_s": self.rng.randrange(60, 900)} if outcome == "connected" else {}
        return self.activity("call", at, direction="outbound", outcome=outcome, **spoken)

    def activity(self, kind: str, at: datetime, **more: Any) -> Event:
        """Return an activity of its rep."""
        event_id = f"{self.deal_id}-{kind}-{at.timestamp():.0f}"
        value = {"event_id": event_id, "occurred_at": stamp(at), "deal_id": self.deal_id, "type": kind}
        return ACTIVITY, {**value, "rep_id": self.rep, "automated": False, **more, **LABEL}


def activities_on(deals: list[dict[str, Any]], seed: int = SEED) -> list[Event]:
    """Return a few simulated calls and e-mails on recorded deals, given their closing events."""
    rng = random.Random(f"{seed}/recorded")  # noqa: S311  # no secret
    found: list[Event] = []
    for number, deal in enumerate(deals):
        if rng.random() > 0.15 or not deal.get("rep_id"):
            continue
        at = datetime.fromisoformat(deal["occurred_at"]).replace(tzinfo=UTC) - timedelta(hours=rng.uniform(1, 200))
        value = {"event_id": f"{PREFIX}{number}", "occurred_at": stamp(at), "deal_id": deal["deal_id"]}
        value |= {"type": rng.choice(("call", "email")), "rep_id": deal["rep_id"], "direction": "outbound"}
        found.append((ACTIVITY, {**value, "automated": False, **LABEL}))
    return found


class Trickle:
    """Simulated events of the present, about one a second, for as long as the demo is watched."""

    def __init__(self, seed: int = SEED) -> None:
        """Begin without leads."""
        self._rng = random.Random(f"{seed}/live")  # noqa: S311  # no secret
        self._waiting: list[tuple[datetime, Lead]] = []
        self._answered: list[Lead] = []
        self._count = 0

    def event(self, now: datetime) -> Event:
        """Return what happens at `now`: an answer that is due, a new lead, or another touch."""
        self._count += 1
        due = next((one for one in self._waiting if one[0] <= now), None)
        if due:
            self._waiting.remove(due)
            self._answered = [*self._answered[-49:], due[1]]
            return due[1].call(now)
        if self._count % 6 == 1 or not self._answered:
            lead = Lead(f"{PREFIX}live-{self._count:06}", now, self._rng)
            self._waiting.append((now + timedelta(seconds=self._rng.uniform(15, 60)), lead))
            return lead.stage("New", now)
        lead = self._rng.choice(self._answered)
        direction = self._rng.choice(("inbound", "outbound"))
        return lead.activity("email", now, direction=direction, event_id=f"{lead.deal_id}-mail-{self._count}")


def stamp(at: datetime) -> str:
    """Return RFC 3339 in UTC, to the millisecond, so that text sorts as time does."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
