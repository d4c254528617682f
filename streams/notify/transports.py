"""How does a message get there?  One attempt; the caller decides about the next one.

slack-sdk's own retries are off: they sleep without bound inside the call and never cover webhooks.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from streams.config import Definitions, Environment
from streams.notify import message

TIMEOUT = 10  # seconds
DEFAULT_PAUSE = 1.0
_PERMANENT = {
    "account_inactive", "channel_not_found", "invalid_auth", "invalid_blocks", "is_archived", "missing_scope",
    "invalid_arguments", "msg_too_long", "not_authed", "not_in_channel", "restricted_action", "token_expired",
    "token_revoked",
}  # fmt: skip
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500
log = logging.getLogger("dealpulse.notify")
# At DEBUG slack-sdk writes the webhook's URL, which is the secret; this logger never lets it.
_sdk_log = logging.getLogger("dealpulse.slack_sdk")
_sdk_log.setLevel(logging.INFO)


class Verdict(Enum):
    """What came of an attempt."""

    SENT = "sent"
    AGAIN = "retried"
    NEVER = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one attempt; `pause` in seconds before the next, 0 = the caller's own back-off."""

    verdict: Verdict
    why: str = ""
    pause: float = 0.0


class Transport(Protocol):
    """Something that can tell people."""

    name: str

    async def send(self, event: dict[str, Any]) -> Attempt:
        """Try once."""


class Log:
    """The terminal, when no Slack is configured."""

    name = "log"

    async def send(self, event: dict[str, Any]) -> Attempt:
        """Write a line."""
        log.warning("ALERT %s", message.text(event))
        return Attempt(Verdict.SENT)


class Bot:
    """chat.postMessage with a bot token."""

    name = "slack"

    def __init__(self, token: str, channel: str, base_url: str | None = None) -> None:
        url = base_url or AsyncWebClient.BASE_URL
        self._client = AsyncWebClient(token=str(token), base_url=url, timeout=TIMEOUT, retry_handlers=[], logger=_sdk_log)
        self._channel = channel

    async def send(self, event: dict[str, Any]) -> Attempt:
        """Post the message."""
        try:
            await self._client.chat_postMessage(
                channel=self._channel,
                text=message.escape(message.text(event)),
                blocks=message.blocks(event),
                unfurl_links=False,
            )
        except SlackApiError as error:
            return _refused(error.response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Attempt(Verdict.AGAIN, type(error).__name__)
        except AttributeError:
            # slack-sdk asks the body of a 200 for its "ok", also when somebody in between answered with a page.
            return Attempt(Verdict.AGAIN, "the answer is not Slack's")
        return Attempt(Verdict.SENT)


class Webhook:
    """An incoming webhook; its URL is the secret."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._client = AsyncWebhookClient(str(url), timeout=TIMEOUT, retry_handlers=[], logger=_sdk_log)

    async def send(self, event: dict[str, Any]) -> Attempt:
        """Post the message."""
        try:
            response = await self._client.send(text=message.escape(message.text(event)), blocks=message.blocks(event))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Attempt(Verdict.AGAIN, type(error).__name__)
        if response.status_code == _OK:
            return Attempt(Verdict.SENT)
        if response.status_code == _TOO_MANY or response.status_code >= _SERVER_ERROR:
            return Attempt(
                Verdict.AGAIN, f"Slack says {response.status_code}", _pause(response.status_code, response.headers)
            )
        return Attempt(Verdict.NEVER, f"Slack says {response.status_code}")


def _refused(response: Any) -> Attempt:
    """Return what to do about slack-sdk's error; a body that is no JSON comes as aiohttp's response, not as its own."""
    if isinstance(response, aiohttp.ClientResponse):
        return Attempt(Verdict.AGAIN, f"Slack says {response.status}", _pause(response.status, response.headers))
    code = str(response.get("error", "")) if isinstance(response.data, dict) else ""
    if code in _PERMANENT:
        return Attempt(Verdict.NEVER, f"Slack says {code}")
    return Attempt(
        Verdict.AGAIN, f"Slack says {response.status_code} {code}", _pause(response.status_code, response.headers)
    )


def _pause(status: int, headers: Any) -> float:
    """Return Slack's Retry-After in seconds on a 429, a second when it is missing or no number."""
    if status != _TOO_MANY:
        return 0.0
    said: Any = next((value for name, value in dict(headers).items() if name.lower() == "retry-after"), "")
    text = str(said[0] if isinstance(said, list) and said else said)
    return float(text) if _SECONDS.fullmatch(text) else DEFAULT_PAUSE


def transport_for(environment: Environment, definitions: Definitions) -> Transport:
    """Return the bot where a token and a channel are set, else the webhook, else the log."""
    channel = environment.slack_channel or definitions.slack.channel
    if environment.slack_token and channel:
        return Bot(environment.slack_token, channel)
    if environment.slack_webhook:
        return Webhook(environment.slack_webhook)
    return Log()
