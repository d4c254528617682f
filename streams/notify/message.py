"""What does the message say?  One alert event as text and Slack blocks, escaped and within Slack's limits."""

from __future__ import annotations

import re
from typing import Any

MAX_SECTION = 3000  # docs.slack.dev: section text
_COLOURS = {"fired": ":red_circle:", "resolved": ":large_green_circle:"}


def escape(text: str) -> str:
    """Return text that Slack shows as it is (docs.slack.dev: formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> str:
    """Return escaped text cut to what Slack takes, not within an escape."""
    return text if len(text) <= MAX_SECTION else re.sub(r"&[a-z]*$", "", text[:MAX_SECTION])


def text(event: dict[str, Any]) -> str:
    """Return the message as one line."""
    return f"{event['text']} [{event['rule']}, as of {event['at']}]"


def blocks(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the message as Slack blocks."""
    mark = _COLOURS.get(event["transition"], "")
    facts = f"rule *{escape(event['rule'])}* | since {event['since']} | as of {event['at']}"
    return [
        {"type": "section", "text": {"type": "mrkdwn", "text": _section(f"{mark} {escape(event['text'])}")}},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _section(facts)}]},
    ]
