"""Whose is it?  The three rules of design section 5, each for one kind of fact.

`known` are the events that speak first (the last word wins, a clear is a word); only when they are silent,
`later` are asked for the first value said.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.audit.deal import Deal, Entry, Placed
from streams.config import Definitions

Who = dict[str, str | None]

FIELDS = ("rep_id", "product", "region", "lead_source", "customer_id")


def word(field: str, known: Sequence[Placed], later: Sequence[Placed]) -> str | None:
    """Return the last value said in `known` (None if cleared since), else the first one said in `later`."""
    for _, event in reversed(known):
        if field in event.said:
            return str(event.said[field])
        if field in event.clear:
            return None
    return next((str(event.said[field]) for _, event in later if field in event.said), None)


def of_rep(rep_id: str | None, definitions: Definitions) -> Who:
    """Return the rep and the team where the rep is at present."""
    rep = definitions.reps.get(rep_id) if rep_id is not None else None
    return {"rep_id": rep_id, "team": rep.team if rep else None}


def _who(known: Sequence[Placed], later: Sequence[Placed], entry: Entry, definitions: Definitions) -> Who:
    who: Who = {field: word(field, known, later) for field in FIELDS}
    who |= of_rep(who["rep_id"], definitions)
    if who["region"] is None and who["rep_id"] in definitions.reps:
        who["region"] = definitions.reps[who["rep_id"]].region
    return who | {"pipeline": entry.pipeline, "stage": entry.stage}


def at_instant(deal: Deal, at: int, entry: Entry, definitions: Definitions) -> Who:
    """A period fact belongs to what the deal had at its instant, events of that instant included, else to what came."""
    known = [placed for placed in deal.events if placed.at <= at]
    return _who(known, deal.events[len(known) :], entry, definitions)


def at_exit(deal: Deal, stay: Entry, leaving: Entry, definitions: Definitions) -> Who:
    """An exit belongs to the values just before the event that made it, else to what that event or a later one said."""
    return _who(deal.events[: leaving.place], deal.events[leaving.place :], stay, definitions)


def at_start(deal: Deal, start: Entry, definitions: Definitions) -> Who:
    """A cohort fact belongs to what was known at its start, else to what was said before the deal left that stage.

    What the leaving event says does not count, even at the same instant: never to what only the outcome revealed.
    """
    leaving = deal.entry_after(start)
    stay = deal.events[: leaving.place] if leaving else deal.events
    known = [placed for placed in stay if placed.at <= start.at]
    return _who(known, stay[len(known) :], start, definitions)


def at_present(deal: Deal, definitions: Definitions) -> Who:
    """A level belongs to the present: the last values said, the present stage."""
    return _who(deal.events, (), deal.entries[-1], definitions)
