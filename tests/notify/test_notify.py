"""Is everybody told, once, and in the end?  Against a Slack that fails in the ways that Slack fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from datetime import timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams import topics
from streams.config import Definitions, Slack
from streams.environment import Environment, Secret
from streams.kafka.room import StateTable
from streams.notify import transports
from streams.notify.message import notice
from streams.notify.room import LONGEST_PAUSE, NotifyRoom
from streams.notify.transports import Bot, Log, Verdict, Webhook, transport_for
from tests.in_memory import delivered
from tests.notify.office import KINDS, NOW, Office, days, event, transport
from tests.notify.slack import HOOK, TOKEN, raw, said

# ------------------------------------------------------------------ once


@pytest.mark.parametrize("kind", KINDS)
async def test_one_message_a_transition(kind, slack):
    """Fired, resolved, fired again; what comes twice is told once."""
    office = Office(transport(kind, slack))
    await office.tell(event(1), event(1), event(2), event(3), event(2))
    assert [one["text"].split(" [")[0] for one in slack.posted] == [
        "Conversion fired",
        "Conversion resolved",
        "Conversion fired",
    ]
    assert office.waits == []


FOREIGN = [
    b"no json", b"\xff", b"[1]", None, b"{}", b"[" * 3000 + b"]" * 3000,
    *(orjson.dumps(event(1) | wrong) for wrong in (
        {"revision": "x"}, {"at": "yesterday"}, {"text": 1}, {"fingerprint": None}, {"baseline": "x"}, {"since": None},
    )),
]  # fmt: skip


@pytest.mark.parametrize("value", FOREIGN)
async def test_what_others_write_there_is_left_out_and_named(value, slack, caplog):
    """It would have ended every worker, one after the other."""
    office = Office(transport("bot", slack))
    await office.room.deliver(0, topics.ALERT_EVENTS, delivered(value, NOW.timestamp()))
    await office.tell(event(1))
    assert [one["text"].split(" [")[0] for one in slack.posted] == ["Conversion fired"]
    assert "a record of dealpulse.alert-events.v1 is no alert event" in caplog.text


async def test_alerts_do_not_silence_each_other(slack):
    """Each has its own revisions."""
    await Office(transport("bot", slack)).tell(event(5, "drop-1"), event(1, "drop-2"))
    assert len(slack.posted) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_sent_again_after_a_restart(kind, slack):
    """The state knows who was told; the next revision is news."""
    state = StateTable()
    await Office(transport(kind, slack), state).tell(event(1))
    await Office(transport(kind, slack), state).tell(event(1), event(2))
    assert len(slack.posted) == 2


@pytest.mark.parametrize(("age", "told"), [(47, 1), (49, 0)], ids=["two-days-less-an-hour", "two-days-and-an-hour"])
async def test_nobody_is_woken_by_history(age, told, slack):
    """Alerts that were older than catch_up_limit when they were written are remembered and not sent, not even later."""
    old, office = event(at=(NOW - timedelta(hours=age)).isoformat()), Office(transport("bot", slack))
    await office.tell(old, old)
    assert len(slack.posted) == told
    assert office.state.get(b"sent:drop-1") == b"1"


OLD = NOW - timedelta(days=9)


@pytest.mark.parametrize(
    ("fired", "over", "told"),
    [
        pytest.param((days(9), OLD), (days(4), NOW), ["fired", "resolved"], id="heard, and over while nobody was at work"),
        pytest.param((days(9), NOW), (days(0), NOW), [], id="history when it fired"),
        pytest.param((days(9), OLD), (days(8), OLD), ["fired", "resolved"], id="both long ago, and written in time"),
        pytest.param(None, (days(0), NOW), ["resolved"], id="a beginning that this room never met"),
        pytest.param(None, (days(4), NOW), [], id="such an end, as history"),
    ],
)
async def test_who_heard_of_an_alert_hears_of_its_end(fired, over, told, slack):
    """And nobody else; also over a restart."""
    state = StateTable()
    if fired is not None:
        await Office(transport("bot", slack), state).tell(event(1, at=fired[0]), written=fired[1])
    await Office(transport("bot", slack), state).tell(event(2, at=over[0]), written=over[1])
    assert [one["text"].split()[1] for one in slack.posted] == told
    assert state.get(b"unheard:drop-1") is None


async def test_of_what_can_never_be_told_the_end_is_not_told_either(slack):
    """The next alert is."""
    slack.answers = [said({"ok": False, "error": "channel_not_found"})]
    await Office(transport("bot", slack)).tell(event(1), event(2), event(3), event(4))
    assert [one["text"].split()[1] for one in slack.posted] == ["fired", "fired", "resolved"]


async def test_what_is_delivered_is_in_the_state_only_after_it_was_sent(slack):
    """So a crash before the answer sends once more, and never loses it."""
    slack.answers = [said({"ok": False, "error": "internal_error"}, 500)]
    office = Office(transport("bot", slack))
    seen: list[bytes | None] = []

    async def wait(_: float) -> None:
        seen.append(office.state.get(b"sent:drop-1"))

    office.room._sleep = wait
    await office.tell(event(1))
    assert (seen, office.state.get(b"sent:drop-1")) == ([None], b"1")


# ------------------------------------------------------------------ again and again


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", ["1", "30", "120", "30.5"])
async def test_a_429_waits_at_least_as_long_as_asked(kind, asked, slack):
    """Never shorter, also when it is longer than our own longest pause."""
    slack.answers = [said({"ok": False, "error": "ratelimited"}, 429, Retry_After=asked)]
    office = Office(transport(kind, slack))
    await office.tell(event())
    assert len(slack.posted) == 2
    assert [pause >= float(asked) for pause in office.waits] == [True]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_429_is_for_all_partitions(kind, slack):
    """The limit is the channel's; who goes on at once is told to wait, too, and in the end is shut out."""
    office = Office(transport(kind, slack), StateTable(), StateTable(), StateTable(), partitions=3)
    over, one_waits, waits = asyncio.Event(), asyncio.Semaphore(0), []

    async def wait(pause: float) -> None:
        waits.append(pause)
        one_waits.release()
        await over.wait()

    office.room._sleep = wait
    slack.answers = [said({"ok": False, "error": "ratelimited"}, 429, Retry_After="30")] * 2
    both = [asyncio.create_task(office.tell(event(1, f"drop-{one}"), partition=one)) for one in (0, 1)]
    for _ in both:
        await one_waits.acquire()
    late = asyncio.create_task(office.tell(event(1, "drop-2"), partition=2))
    await asyncio.sleep(0.1)
    assert (len(slack.posted), waits) == (2, [30, 30])
    over.set()
    await asyncio.gather(*both, late)
    assert len(slack.posted) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "header", [{}, {"Retry_After": "soon"}, {"Retry_After": "-5"}, {"Retry_After": "²"}, {"Retry_After": ""}], ids=str
)
async def test_a_429_without_a_number_waits_a_second_or_more(kind, header, slack):
    """Missing, words, negative, a superscript digit, nothing."""
    slack.answers = [said({"ok": False, "error": "ratelimited"}, 429, **header)]
    office = Office(transport(kind, slack))
    await office.tell(event())
    assert [1 <= pause <= LONGEST_PAUSE for pause in office.waits] == [True]


BROKEN = {
    "json": said({"ok": False, "error": "internal_error"}, 503),
    "html": raw("<html>bad gateway</html>", 502, "text/html"),
    "text": raw("bad gateway", 500, "text/plain"),
    "no-json-that-says-it-is": raw("upstream failed", 502, "application/json"),
    "empty": raw("", 503, "application/json"),
    "a-list": said([], 500),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", BROKEN)
async def test_a_server_error_is_tried_again_whatever_its_body(kind, broken, slack):
    """Proxies answer with pages of their own."""
    slack.answers = [BROKEN[broken]] * 2
    office = Office(transport(kind, slack))
    await office.tell(event())
    assert (len(slack.posted), len(office.waits)) == (3, 2)


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b'{"ok": tr\xe9', b"\x80"], ids=["utf-16", "latin-1", "byte"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [200, 403, 502])
@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "text/html; charset=base64", "text/html; charset=nonsense", "text/html"],
)
async def test_an_answer_that_is_no_text_is_tried_again(body, kind, status, content_type, slack):
    """A page of a proxy in another encoding."""
    slack.answers = [lambda: web.Response(body=body, status=status, headers={"Content-Type": content_type})]
    office = Office(transport(kind, slack))
    await office.tell(event())
    assert (len(slack.posted), len(office.waits)) == (2, 1)


@pytest.mark.parametrize("body", ["", "<html>sign in</html>", "ok then", '{"ok": true}'])
async def test_a_200_of_a_webhook_that_is_not_slacks_is_tried_again(body, slack):
    """Somebody between us and Slack answered."""
    slack.answers = [raw(body, 200, "text/html")]
    office = Office(transport("webhook", slack))
    await office.tell(event())
    assert (len(slack.posted), len(office.waits)) == (2, 1)


@pytest.mark.parametrize("body", ["ok", "[]", '"ok"', "", "[" * 200_000], ids=["text", "list", "string", "nothing", "deep"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_a_200_of_the_bot_that_is_no_object_is_tried_again(body, content_type, slack):
    """Somebody between us and Slack answered."""
    slack.answers = [raw(body, 200, content_type)]
    office = Office(transport("bot", slack))
    await office.tell(event())
    assert (len(slack.posted), len(office.waits)) == (2, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_is_followed_elsewhere(kind, status, slack):
    """A page that says ok there has not heard, and whoever listens there need not hear."""
    asked = []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_route("*", "/", page)
    async with TestServer(app) as elsewhere:
        there = {"Location": str(elsewhere.make_url("/"))}
        slack.answers = [lambda: web.Response(status=status, headers=there)]
        attempt = await transport(kind, slack).send(notice(event()))
    assert (attempt.verdict, attempt.perhaps_heard, asked) == (Verdict.AGAIN, False, [])
    assert attempt.why == f"the answer is not Slack's: a {status} to another place"


async def test_no_answer_writes_the_log_as_it_likes(slack):
    """Nor as much as it likes."""
    slack.answers = [said({"ok": False, "error": "late\n\x1b[2J" * 10_000})]
    attempt = await transport("bot", slack).send(notice(event()))
    assert attempt.why.startswith("Slack says 200 late  [2Jlate")
    assert len(attempt.why) < 200


@pytest.mark.parametrize("kind", KINDS)
async def test_pauses_grow_up_to_a_minute(kind, slack):
    """Twice as long each time, with some chance in it."""
    slack.answers = [raw("no", 503, "text/html")] * 12
    office = Office(transport(kind, slack))
    await office.tell(event())
    assert all(2 ** min(n, 6) / 2 <= pause <= LONGEST_PAUSE for n, pause in enumerate(office.waits, 1))
    assert office.waits[-1] >= 30


@pytest.mark.parametrize("kind", KINDS)
async def test_a_time_out_is_tried_again(kind, slack, monkeypatch):
    """Slack took the message and did not answer: it may be there twice then, but it is not lost."""
    monkeypatch.setattr(transports, "TIMEOUT", 0.2)
    sender = transport(kind, slack)
    slack.silent = True
    assert (await sender.send(notice(event()))).verdict is Verdict.AGAIN
    slack.silent = False
    await Office(sender).tell(event())
    assert len(slack.posted) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_slack_is_not_told_again_and_again(kind, slack, monkeypatch):
    """Each attempt may be a message to people: it says so, and there are ever fewer."""
    monkeypatch.setattr(transports, "TIMEOUT", 0.05)
    office = Office(transport(kind, slack))
    slack.silent = True
    wait = office.room._sleep

    async def five_times(pause: float) -> None:
        await wait(pause)
        slack.silent = len(office.waits) < 5

    office.room._sleep = five_times
    await office.tell(event(), event(2))
    assert office.waits == [60, 120, 240, 480, 600]
    marked = [one["text"].endswith("(perhaps told already: Slack did not answer)") for one in slack.posted]
    assert marked == [False, *[True] * 5, False]  # the last one is the next event


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_connection_is_tried_again(kind, slack):
    """Nobody listens any more, and nobody has heard."""
    sender = transport(kind, slack)
    await slack.stop()
    attempt = await sender.send(notice(event()))
    assert (attempt.verdict, attempt.perhaps_heard) == (Verdict.AGAIN, False)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_does_not_come_is_tried_again(kind, monkeypatch):
    """Somebody in between drops what we send: nobody has heard, either."""
    monkeypatch.setattr(transports, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host = f"127.0.0.1:{full.getsockname()[1]}"
        with contextlib.ExitStack() as waiting:
            for _ in range(4):  # more than its backlog holds: it answers no other
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            bot, hook = Bot(Secret(TOKEN), "#sales", f"http://{host}/api/"), Webhook(Secret(f"http://{host}{HOOK}"))
            attempt = await (bot if kind == "bot" else hook).send(notice(event()))
    assert (attempt.verdict, attempt.perhaps_heard) == (Verdict.AGAIN, False)
    assert "ConnectionTimeoutError" in attempt.why


@pytest.fixture
def through(monkeypatch):
    """Return a function: name a proxy in the environment."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return lambda proxy: monkeypatch.setenv("HTTPS_PROXY", proxy)


def beyond(kind: str) -> Any:
    """Return who speaks with the real Slack."""
    return Bot(Secret(TOKEN), "#sales") if kind == "bot" else Webhook(Secret("https://hooks.slack.com" + HOOK))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_proxy_refuses_nobody_has_heard(kind, slack, through):
    """It is asked for a way to Slack first; here it knows no such method."""
    through(slack.url)
    attempt = await beyond(kind).send(notice(event()))
    assert (attempt.verdict, attempt.perhaps_heard) == (Verdict.AGAIN, False)
    assert attempt.why.startswith("the proxy that HTTPS_PROXY or HTTP_PROXY names says 4")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("proxy", ["proxy:3128", "127.0.0.1:3128", "http://proxy:many"])
async def test_a_proxy_without_an_address_is_named(kind, proxy, through):
    """As other programs take it, without http:// in front."""
    through(proxy)
    attempt = await beyond(kind).send(notice(event()))
    assert (attempt.verdict, attempt.perhaps_heard) == (Verdict.AGAIN, False)
    assert attempt.why == "HTTPS_PROXY or HTTP_PROXY is no address of a proxy; write http://host:port"


async def test_what_is_for_this_machine_does_not_leave_it(slack, through):
    """A proxy would read the secret of a webhook without TLS."""
    through("http://127.0.0.1:1")
    assert (await transport("webhook", slack).send(notice(event()))).verdict is Verdict.SENT


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_waits_for_years(kind, slack):
    """A proxy may ask for it; an hour is enough."""
    slack.answers = [said({"ok": False, "error": "ratelimited"}, 429, Retry_After="999999999")]
    office = Office(transport(kind, slack))
    await office.tell(event())
    assert office.waits == [3600]


# ------------------------------------------------------------------ never


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ("channel_not_found", Verdict.NEVER),
        ("invalid_auth", Verdict.NEVER),
        ("not_in_channel", Verdict.NEVER),
        ("is_archived", Verdict.NEVER),
        ("token_revoked", Verdict.NEVER),
        ("missing_scope", Verdict.NEVER),
        ("ratelimited", Verdict.AGAIN),
        ("internal_error", Verdict.AGAIN),
        ("service_unavailable", Verdict.AGAIN),
        ("something_new", Verdict.AGAIN),
    ],
)
async def test_what_the_bot_is_refused_for(error, verdict, slack):
    """Only what waiting cannot mend is given up."""
    slack.answers = [said({"ok": False, "error": error})]
    assert (await transport("bot", slack).send(notice(event()))).verdict is verdict


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, "ok", Verdict.SENT),
        (400, "invalid_payload", Verdict.NEVER),
        (403, "action_prohibited", Verdict.NEVER),
        (404, "no_service", Verdict.NEVER),
        (410, "channel_is_archived", Verdict.NEVER),
        (403, "<html>forbidden</html>", Verdict.AGAIN),
        (404, "Not Found", Verdict.AGAIN),
        (403, "forbidden", Verdict.AGAIN),
        (408, "no_service", Verdict.AGAIN),
        (429, "rate_limited", Verdict.AGAIN),
        (500, "rollup_error", Verdict.AGAIN),
    ],
)
async def test_what_a_webhook_answers(status, body, verdict, slack):
    """4xx in Slack's words are settings, 5xx are Slack's, pages somebody else's."""
    slack.answers = [raw(body, status, "text/html")]
    assert (await transport("webhook", slack).send(notice(event()))).verdict is verdict


async def test_a_message_that_can_never_work_holds_up_nobody(slack, caplog):
    """It is logged as an error with what to do, and the next one is sent."""
    slack.answers = [said({"ok": False, "error": "channel_not_found"})]
    await Office(transport("bot", slack)).tell(event(1, "drop-1"), event(1, "drop-2"))
    assert len(slack.posted) == 2
    assert "look at the DEALPULSE_SLACK_ settings" in caplog.text


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trouble", ["none", "429", "503", "refused", "never", "no-json", "time-out"])
async def test_no_secret_is_ever_logged(kind, trouble, slack, caplog, monkeypatch):
    """Neither token nor URL, at any level, whatever happens."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(transports, "TIMEOUT", 0.2)
    answers = {
        "429": [said({"ok": False, "error": "ratelimited"}, 429)],
        "503": [raw("no", 503, "text/html")],
        "never": [said({"ok": False, "error": "invalid_auth"}, 403)],
        "no-json": [raw("no", 502, "application/json")],
    }
    slack.answers = answers.get(trouble, [])
    sender = transport(kind, slack)
    if trouble == "refused":
        await slack.stop()
    slack.silent = trouble == "time-out"
    attempt = await sender.send(notice(event()))
    if trouble not in ("refused", "time-out"):
        await Office(sender).tell(event())
    shown = caplog.text + attempt.why + repr(attempt) + repr(sender)
    assert "very-secret" not in shown


def test_the_environment_does_not_show_its_secrets():
    """Not even when it is printed in an error."""
    environment = Environment(slack_token=Secret(TOKEN), slack_webhook=Secret("https://hooks" + HOOK))
    assert "very-secret" not in repr(environment)


# ------------------------------------------------------------------ what is said


NASTY = "<!channel> & <https://evil|click> team R&D *bold* `code` :red_circle: @here #general"


def words(posted: dict[str, Any]) -> list[str]:
    """Return what the text elements of each line of the block say."""
    [block] = posted["blocks"]
    assert block["type"] == "rich_text"
    lines = [[one["text"] for one in section["elements"] if one["type"] == "text"] for section in block["elements"]]
    return ["".join(line) for line in lines]


@pytest.mark.parametrize("kind", KINDS)
async def test_names_cannot_speak_slack(kind, slack):
    """A stage called <!channel> wakes nobody: text elements are taken as they are, and the notification's text is escaped."""
    await Office(transport(kind, slack)).tell(event(text=NASTY, rule="<@U1>"))
    posted = slack.posted[0]
    assert words(posted)[0] == f" {NASTY}"
    assert words(posted)[1].startswith("rule <@U1> | ")
    assert "<" not in posted["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil|click&gt; team R&amp;D" in posted["text"]
    assert posted["mrkdwn"] in (False, "0")


FORGED = "New\n:red_circle: Conversion dropped: everybody\r\u2028\x00\u202eend"


@pytest.mark.parametrize("kind", KINDS)
async def test_names_cannot_begin_a_line(kind, slack, caplog):
    """Neither in Slack nor in the log; what would turn the direction of writing is gone, too."""
    for sender in (transport(kind, slack), Log()):
        await Office(sender).tell(event(text=FORGED))
    for shown in (*words(slack.posted[0]), slack.posted[0]["text"], caplog.messages[-1]):
        assert shown.isprintable()
    assert words(slack.posted[0])[0] == " New :red_circle: Conversion dropped: everybody end"


async def test_a_long_text_fits_slack(slack):
    """3,000 characters a line."""
    await Office(transport("bot", slack)).tell(event(text="&" * 10_000))
    assert [len(one) <= 3_001 for one in words(slack.posted[0])] == [True, True]


async def test_a_message_says_what_when_and_which_rule(slack):
    """Colour by transition, the sentence, the rule and the instants."""
    await Office(transport("bot", slack)).tell(event(2))
    posted = slack.posted[0]
    assert (posted["channel"], slack.tokens) == ("#sales", [f"Bearer {TOKEN}"])
    assert posted["blocks"][0]["elements"][0]["elements"][0] == {"type": "emoji", "name": "large_green_circle"}
    sentence, facts = words(posted)
    assert sentence == " Conversion resolved"
    assert facts.startswith("rule drop | since 2024-03-01T11:00:00+00:00")


async def test_without_slack_the_log_is_told(caplog):
    """One line an alert, as it is."""
    await Office(Log()).tell(event(text="R&D dropped"))
    assert "ALERT R&D dropped [drop, as of 2024-03-01T11:00:00+00:00]" in caplog.text


@pytest.mark.parametrize(
    ("environment", "channel", "kind"),
    [
        (Environment(), None, Log),
        (Environment(slack_token=Secret(TOKEN)), None, Log),
        (Environment(slack_token=Secret(TOKEN)), "#sales", Bot),
        (Environment(slack_token=Secret(TOKEN), slack_channel="#ops"), None, Bot),
        (Environment(slack_webhook=Secret("https://hooks")), None, Webhook),
        (Environment(slack_webhook=Secret("https://hooks"), slack_token=Secret(TOKEN)), "#sales", Bot),
        (Environment(slack_webhook=Secret("https://hooks"), slack_token=Secret(TOKEN)), None, Webhook),
    ],
    ids=["nothing", "token-only", "token-and-channel", "channel-from-the-environment", "webhook", "both", "no-channel"],
)
def test_who_tells(environment, channel, kind):
    """The bot where it can, else the webhook, else the log."""
    assert isinstance(transport_for(environment, Definitions(slack=Slack(channel=channel))), kind)


def test_this_room_does_not_handle():
    """It delivers: the edge must not call the other one."""
    with pytest.raises(NotImplementedError):
        NotifyRoom(Definitions(), Log()).handle(0, topics.ALERT_EVENTS, [])
