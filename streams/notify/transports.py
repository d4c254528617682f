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

from streams.config import Definitions
from streams.environment import Environment
from streams.notify.message import Notice, escape
from streams.panes.text import printable

TIMEOUT, CONNECT_TIMEOUT = 10, 5  # seconds, in all and until something can be sent
DEFAULT_PAUSE = 1.0
LONGEST_ASKED = 3600.0  # a proxy may ask for years
# docs.slack.dev/reference/methods/chat.postMessage, errors: those that waiting does not mend.
_PERMANENT = {
    "access_denied", "account_inactive", "as_user_not_supported", "cannot_reply_to_message", "channel_not_found",
    "duplicate_channel_not_found", "ekm_access_denied", "enterprise_is_restricted", "invalid_arg_name", "invalid_arguments",
    "invalid_array_arg", "invalid_auth", "invalid_blocks", "invalid_blocks_format", "invalid_post_type", "is_archived",
    "messages_tab_disabled", "metadata_too_large", "missing_post_type", "missing_scope", "msg_blocks_too_long",
    "msg_too_long", "no_permission", "no_text", "not_allowed_token_type", "not_authed", "not_in_channel",
    "restricted_action", "restricted_action_non_threadable_channel", "restricted_action_read_only_channel",
    "restricted_action_thread_locked", "restricted_action_thread_only_channel", "slack_connect_canvas_sharing_blocked",
    "slack_connect_file_link_sharing_blocked", "team_access_not_granted", "token_expired", "token_revoked",
    "too_many_attachments", "two_factor_setup_required",
}  # fmt: skip
_CODE = re.compile(r"[a-z]{1,40}(?:_[a-z]{1,40}){1,9}")  # how Slack says why it refuses a webhook's message
_LONGEST_CODE = 100  # of an error that goes into the log
_NOT_SLACKS = "the answer is not Slack's"
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_OK, _TIMED_OUT, _TOO_MANY, _SERVER_ERROR = 200, 408, 429, 500
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
    perhaps_heard: bool = False  # it was sent and not answered


class Transport(Protocol):
    """Something that can tell people."""

    name: str

    async def send(self, notice: Notice) -> Attempt:
        """Try once."""


class Log:
    """The terminal, when no Slack is configured."""

    name = "log"

    async def send(self, notice: Notice) -> Attempt:
        """Write a line."""
        log.warning("ALERT %s", notice.text)
        return Attempt(Verdict.SENT)


class Bot:
    """chat.postMessage with a bot token."""

    name = "slack"

    def __init__(self, token: str, channel: str, base_url: str | None = None) -> None:
        self._token, self._channel = token, channel
        self._url = base_url or AsyncWebClient.BASE_URL

    async def send(self, notice: Notice) -> Attempt:
        """Post the message."""
        try:
            async with _session() as session:
                client = AsyncWebClient(
                    token=str(self._token), base_url=self._url, session=session, retry_handlers=[], logger=_sdk_log
                )
                await client.chat_postMessage(
                    channel=self._channel,
                    text=escape(notice.text),
                    blocks=notice.blocks,
                    unfurl_links=False,
                    mrkdwn=False,
                    parse="none",
                    link_names=False,
                )
        except SlackApiError as error:
            return _refused(error.response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return _no_answer(error)
        except (AttributeError, ValueError, LookupError, RecursionError):
            # slack-sdk decodes the body and asks it for its "ok", also when somebody in between answered with a page.
            return Attempt(Verdict.AGAIN, _NOT_SLACKS)
        return Attempt(Verdict.SENT)


class Webhook:
    """An incoming webhook; its URL is the secret."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, notice: Notice) -> Attempt:
        """Post the message."""
        try:
            async with _session() as session:
                client = AsyncWebhookClient(str(self._url), session=session, retry_handlers=[], logger=_sdk_log)
                if self._url[:5].lower() == "http:":  # it is on this machine; in a proxy its secret would be seen
                    client.proxy = None
                response = await client.send_dict({"text": escape(notice.text), "blocks": notice.blocks, "mrkdwn": False})
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return _no_answer(error)
        except (ValueError, LookupError):
            return Attempt(Verdict.AGAIN, _NOT_SLACKS)
        status, said = response.status_code, (response.body or "").strip()
        if status == _OK:
            return Attempt(Verdict.SENT) if said == "ok" else Attempt(Verdict.AGAIN, _NOT_SLACKS)
        if status in (_TIMED_OUT, _TOO_MANY) or status >= _SERVER_ERROR or not _CODE.fullmatch(said):
            return Attempt(Verdict.AGAIN, f"Slack, or who answers for it, says {status}", _pause(status, response.headers))
        return Attempt(Verdict.NEVER, f"Slack says {status} {said}")


class _ElsewhereError(OSError):
    """Who answered wants us to go elsewhere."""


def _session() -> aiohttp.ClientSession:
    """Return a session that follows nobody, and tells a connection that does not come from an answer that does not."""
    timeout, redirects = aiohttp.ClientTimeout(total=TIMEOUT, connect=CONNECT_TIMEOUT), aiohttp.TraceConfig()
    redirects.on_request_redirect.append(_stay_here)
    return aiohttp.ClientSession(timeout=timeout, trace_configs=[redirects])


async def _stay_here(_session: Any, _context: Any, redirected: aiohttp.TraceRequestRedirectParams) -> None:
    # Slack never does so.  The message would get lost on the way (a 302 is followed without it, to a page that may say "ok"), or
    # come to somebody for whom it is not.
    redirected.response.close()
    raise _ElsewhereError(f"{_NOT_SLACKS}: a {redirected.response.status} to another place")


def _no_answer(error: Exception) -> Attempt:
    # A connection that was not to be had has carried nothing; of any other end nobody knows.
    if isinstance(error, _ElsewhereError):
        return Attempt(Verdict.AGAIN, str(error))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Attempt(Verdict.AGAIN, f"the proxy that HTTPS_PROXY or HTTP_PROXY names says {error.status}")
    if isinstance(error, aiohttp.InvalidURL):  # Slack's own is checked at the start
        return Attempt(Verdict.AGAIN, "HTTPS_PROXY or HTTP_PROXY is no address of a proxy; write http://host:port")
    perhaps_heard = not isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
    return Attempt(Verdict.AGAIN, f"Slack does not answer ({type(error).__name__})", perhaps_heard=perhaps_heard)


def _refused(response: Any) -> Attempt:
    """Return what to do about slack-sdk's error; a body that is no JSON comes as aiohttp's response, not as its own."""
    if isinstance(response, aiohttp.ClientResponse):
        return Attempt(Verdict.AGAIN, f"Slack says {response.status}", _pause(response.status, response.headers))
    code = str(response.get("error", "")) if isinstance(response.data, dict) else ""
    if code in _PERMANENT:
        return Attempt(Verdict.NEVER, f"Slack says {code}")
    why = f"Slack says {response.status_code} {printable(code[:_LONGEST_CODE])}"
    return Attempt(Verdict.AGAIN, why, _pause(response.status_code, response.headers))


def _pause(status: int, headers: Any) -> float:
    """Return Slack's Retry-After in seconds on a 429, an hour at most, a second when it is missing or no number."""
    if status != _TOO_MANY:
        return 0.0
    said: Any = next((value for name, value in dict(headers).items() if name.lower() == "retry-after"), "")
    text = str(said[0] if isinstance(said, list) and said else said)
    return min(float(text), LONGEST_ASKED) if _SECONDS.fullmatch(text) else DEFAULT_PAUSE


def transport_for(environment: Environment, definitions: Definitions) -> Transport:
    """Return the bot where a token and a channel are set, else the webhook, else the log."""
    channel = environment.slack_channel or definitions.slack.channel
    if environment.slack_token and channel:
        return Bot(environment.slack_token, channel)
    if environment.slack_webhook:
        return Webhook(environment.slack_webhook)
    return Log()
