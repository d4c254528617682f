"""What does the message say?  Alert events as text and Slack blocks; no name in them can speak Slack's markup or begin a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from streams.panes.text import printable

MAX_TEXT = 3000  # of what Slack takes in one message (docs.slack.dev: 50 blocks, a section's text of 3,000 characters)
# Of a digest.  Slack refuses more than some 13,000 characters in the blocks of one message (bolt-js issue 2509).
MOST_NAMED, MAX_LINE = 20, 300
_COLOURS = {"fired": "red_circle", "resolved": "large_green_circle"}

Event = dict[str, Any]


class Notice(NamedTuple):
    """What people are told: as one line, and as Slack blocks."""

    text: str
    blocks: list[dict[str, Any]]


def escape(text: str) -> str:
    """Return text that Slack shows as it is (docs.slack.dev: formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: str) -> str:
    """Return text without what would begin a line, or turn its direction: names come from outside."""
    return " ".join(printable(text).split())


def text(event: Event) -> str:
    """Return an alert event as one line."""
    return one_line(f"{event['text']} [{event['rule']}, as of {event['at']}]")


def notice(event: Event) -> Notice:
    """Return what is said of one alert event."""
    facts = f"rule {event['rule']} | since {event['since']} | as of {event['at']}"
    below = {"type": "text", "text": one_line(facts)[:MAX_TEXT], "style": {"italic": True}}
    sentence = one_line(event["text"])[:MAX_TEXT]
    return Notice(text(event), _rich_text(_section(*_sign(event["transition"]), _word(f" {sentence}")), _section(below)))


def digest(events: Sequence[Event]) -> Notice:
    """Return what is said at once of alerts that fire and of which nobody has heard: most lost first, so many of them by name."""
    ordered = sorted(events, key=lambda event: (-lost(event), event["text"]))
    lines = [_shortened(f"{event['text']} [{event['rule']}, since {event['since']}]") for event in ordered[:MOST_NAMED]]
    count, more = len(ordered), len(ordered) - len(lines)
    head = f"{count} alert{'s fire' if count > 1 else ' fires'} that nobody was told of"
    rest = [f"and {more} more"] if more else []
    named = {"type": "rich_text_list", "style": "bullet", "elements": [_section(_word(line)) for line in (*lines, *rest)]}
    return Notice(
        "; ".join((f"{head}: {lines[0]}", *lines[1:], *rest)),
        _rich_text(_section(*_sign("fired"), _word(f" {head}:")), named),
    )


def perhaps_again(notice: Notice) -> Notice:
    """Return what is said a second time of what may have been heard."""
    mark = "perhaps told already: Slack did not answer"
    return Notice(f"{notice.text} ({mark})", notice.blocks + _rich_text(_section(_word(f"({mark})"))))


def lost(event: Event) -> float:
    """Return how many of the entries since the change began went otherwise than they do as a rule."""
    n, k, baseline = event["n"], event["k"], event["baseline"] or 0.0
    return float(abs(n * baseline - k))


def _shortened(line: str) -> str:
    line = one_line(line)
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"


def _rich_text(*elements: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a Slack block of rich text, whose elements say what is a word and what is a sign.

    Nothing in a text element is looked at for markup, mentions or signs (docs.slack.dev: rich text block).
    """
    return [{"type": "rich_text", "elements": list(elements)}]


def _section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def _word(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def _sign(transition: str) -> list[dict[str, Any]]:
    colour = _COLOURS.get(transition)
    return [{"type": "emoji", "name": colour}] if colour else []
