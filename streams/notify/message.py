"""What does the message say?  One alert event as text and Slack blocks; no name in it can speak Slack's markup or begin a line."""

from __future__ import annotations

from typing import Any

MAX_TEXT = 3000  # of what Slack takes in one message (docs.slack.dev: 50 blocks, a section's text of 3,000 characters)
_COLOURS = {"fired": "red_circle", "resolved": "large_green_circle"}


def escape(text: str) -> str:
    """Return text that Slack shows as it is (docs.slack.dev: formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: str) -> str:
    """Return text without what would begin a line, or turn its direction: names come from outside."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def text(event: dict[str, Any]) -> str:
    """Return the message as one line."""
    return one_line(f"{event['text']} [{event['rule']}, as of {event['at']}]")


def blocks(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the message as a Slack block: rich text, whose elements say what is a word and what is a sign.

    Nothing in a text element is looked at for markup, mentions or signs (docs.slack.dev: rich text block).
    """
    facts = f"rule {event['rule']} | since {event['since']} | as of {event['at']}"
    colour = _COLOURS.get(event["transition"])
    sign = [{"type": "emoji", "name": colour}] if colour else []
    sentence = {"type": "text", "text": f" {one_line(event['text'])[:MAX_TEXT]}"}
    below = {"type": "text", "text": one_line(facts)[:MAX_TEXT], "style": {"italic": True}}
    return [
        {
            "type": "rich_text",
            "elements": [
                {"type": "rich_text_section", "elements": [*sign, sentence]},
                {"type": "rich_text_section", "elements": [below]},
            ],
        }
    ]
