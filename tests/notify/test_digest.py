"""Is what fires told in one message when history is over, to those who have not heard of it, and never lost?"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.room import StateTable
from streams.notify import message
from streams.notify.message import MAX_LINE, MOST_NAMED, Notice, digest, escape
from streams.notify.transports import Attempt, Log, Verdict
from tests.notify.office import KINDS, NOW, Office, days, event, transport
from tests.notify.slack import said

A_DAY = timedelta(days=1)


def old(fingerprint: str, revision: int = 1, **changed: Any) -> dict[str, Any]:
    """Return an alert event that is history, whose text is its fingerprint."""
    return event(revision, fingerprint, **{"at": days(9), "text": fingerprint, **changed})


def heard(slack: Any) -> list[list[str]]:
    """Return of each message which alerts it names."""
    return [[word for word in "abcdef" if f"{word} [" in one["text"]] for one in slack.posted]


# ------------------------------------------------------------------ who hears of what


@pytest.mark.parametrize("kind", KINDS)
async def test_what_still_fires_is_told_in_one_message(kind, slack):
    """Not what ended meanwhile, nor what was told already; once; and of its end those hear who heard of it."""
    office = Office(transport(kind, slack))
    await office.tell(old("a"), old("b"), old("c"), old("b", 2), event(1, "d", text="d"))
    assert heard(slack) == [["d"]]
    await office.judged()
    await office.judged()
    assert heard(slack) == [["d"], ["a", "c"]]
    await office.tell(event(2, "a", text="a"), event(2, "b", text="b"))
    assert heard(slack) == [["d"], ["a", "c"], ["a"]]


async def test_without_slack_the_log_is_told(caplog):
    """One line, as of any alert."""
    office = Office(Log())
    await office.tell(old("a"), old("b"))
    await office.judged()
    [line] = caplog.messages
    assert line.startswith("ALERT 2 alerts fire that nobody was told of: a [drop, since 2024-03-01T11:00:00+00:00]; b [drop")


async def test_where_nothing_is_untold_nothing_is_said(slack):
    """A quiet morning, a heard alert, and history that is over."""
    office = Office(transport("bot", slack))
    await office.judged()
    await office.tell(event(1, "a", text="a"), old("b"), old("b", 2))
    await office.judged()
    assert heard(slack) == [["a"]]


async def test_history_that_comes_after_a_digest_is_in_the_next_one(slack):
    """Late events may tell of old days at any time."""
    office = Office(transport("bot", slack))
    for name in "ab":
        await office.tell(old(name))
        await office.judged()
    assert heard(slack) == [["a"], ["b"]]


# ------------------------------------------------------------------ when history is over


@pytest.mark.parametrize(
    ("age", "told"), [(0, True), (47, True), (49, False), (24 * 365 * 8, False)], ids=["now", "47h", "49h", "years"]
)
async def test_it_is_over_when_the_alerts_are_as_far_as_what_is_told_one_by_one(age, told, slack):
    """By when it was said, not by the clock: who reads it late has waited for Slack, and says the same."""
    office = Office(transport("bot", slack))
    await office.tell(old("a"))
    await office.judged(at=NOW - timedelta(hours=age))
    assert heard(slack) == [["a"]] * told


async def test_all_partitions_of_the_alerts_have_to_be_there(slack):
    """One that is still in history may end what fires; what one said last counts."""
    office = Office(transport("bot", slack), partitions=3)
    await office.tell(old("a"))
    await office.judged(0, 1)
    await office.judged(2, at=NOW - 9 * A_DAY)
    assert heard(slack) == []
    await office.judged(1, at=NOW - 9 * A_DAY)
    await office.judged(2)
    assert heard(slack) == []
    await office.judged(1)
    assert heard(slack) == [["a"]]


async def test_what_was_heard_outlives_a_restart(slack):
    """Nobody says it again who has nothing new."""
    table = StateTable()
    await Office(transport("bot", slack), table, partitions=2).judged(0)
    office = Office(transport("bot", slack), table, partitions=2)
    await office.tell(old("a"))
    await office.judged(1)
    assert heard(slack) == [["a"]]


async def test_one_message_for_all_partitions_that_are_owned(slack):
    """When the last of them has heard: what is behind in another may end what fires."""
    office = Office(transport("bot", slack), StateTable(), StateTable(), partitions=2)
    for partition, name in enumerate("ab"):
        await office.tell(old(name), partition=partition)
    await office.judged(0, 1, partition=1)
    assert heard(slack) == []
    office = Office(transport("bot", slack), *office.tables, partitions=2)
    await office.judged(0, 1, partition=0)
    assert heard(slack) == [["a", "b"]]
    await office.judged(0, 1, partition=1)
    assert len(slack.posted) == 1


# ------------------------------------------------------------------ never lost


async def test_a_digest_that_fails_is_tried_again(slack):
    """Nothing is noted before it was sent, so that a crash sends it once more."""
    slack.answers = [said({"ok": False, "error": "internal_error"}, 500)] * 2
    office, seen = Office(transport("bot", slack)), []

    async def wait(_: float) -> None:
        seen.append(office.state.get(b"unheard:a") is not None)

    office.room._sleep = wait
    await office.tell(old("a"))
    await office.judged()
    assert (seen, office.state.get(b"unheard:a")) == ([True, True], None)
    assert heard(slack) == [["a"]] * 3


async def test_a_crash_between_message_and_commit_tells_once_more(slack):
    """The state is that of the last commit, and the record comes again."""
    office = Office(transport("bot", slack))
    await office.tell(old("a"))
    committed = StateTable()
    committed.rows = dict(office.state.rows)
    await office.judged()
    again = Office(transport("bot", slack), committed)
    await again.judged()
    await again.judged()
    assert heard(slack) == [["a"], ["a"]]


async def test_what_slack_refuses_for_good_stays_untold(slack, caplog):
    """It is said what to mend; the next digest tells of it, and of its end nobody hears who has not."""
    slack.answers = [said({"ok": False, "error": "channel_not_found"})] * 2
    office = Office(transport("bot", slack))
    await office.tell(old("a"), old("b"))
    await office.judged()
    assert "look at the DEALPULSE_SLACK_ settings" in caplog.text
    await office.tell(event(2, "a", text="a"))
    await office.judged()
    assert heard(slack) == [
        ["a", "b"]
    ]  # not a hundred times a day: each partition of the kpis says so to each of the alerts
    await office.judged(written=NOW + A_DAY, at=NOW + A_DAY)
    assert heard(slack) == [["a", "b"], ["b"]]
    slack.posted.clear()
    await office.judged(written=NOW + 2 * A_DAY, at=NOW + 2 * A_DAY)
    assert heard(slack) == [["b"]]


async def test_what_is_refused_is_tried_at_once_when_there_is_more(slack):
    """Somebody may have mended it; and a refusal of one is none of the next."""
    slack.answers = [said({"ok": False, "error": "channel_not_found"})] * 2
    office = Office(transport("bot", slack))
    await office.tell(old("a"))
    await office.judged()
    await office.tell(event(1, "b", text="b"))
    await office.judged()
    assert heard(slack) == [["a"], ["b"], ["a", "b"]]


@pytest.mark.parametrize("changed", [{"rule": "gone"}, {"cut": "rep"}], ids=["taken out", "another cut"])
async def test_an_alert_of_a_rule_that_judges_it_no_more_is_not_told(changed, slack):
    """Of its end nobody would ever hear."""
    office = Office(transport("bot", slack))
    await office.tell(old("a", **changed), old("b"))
    await office.judged()
    assert heard(slack) == [["b"]]
    assert office.state.get(b"unheard:a") is None


# ------------------------------------------------------------------ ends that Slack refused


async def test_an_end_that_slack_refuses_is_told_later(slack):
    """Else people believe for ever that it fires; once a day, before what fires unheard."""
    office = Office(transport("bot", slack))
    await office.tell(event(1, "a", text="a fires"))
    slack.posted.clear()
    slack.answers = [said({"ok": False, "error": "token_revoked"})] * 2
    await office.tell(event(2, "a", text="a ends"), old("b"))
    await office.judged()
    await office.judged()
    assert [one["text"].split(" [")[0] for one in slack.posted] == ["a ends", "a ends"]
    slack.posted.clear()
    restarted = Office(transport("bot", slack), office.state)
    for _ in range(2):
        await restarted.judged(written=NOW + A_DAY, at=NOW + A_DAY)
    assert [one["text"].split(" [")[0] for one in slack.posted] == ["a ends", "1 alert fires that nobody was told of: b"]


@pytest.mark.parametrize("refused", [False, True])
async def test_an_alert_that_fires_again_has_not_ended(refused, slack):
    """Who believes that it fires is right again, heard or not; of its end they hear."""
    office = Office(transport("bot", slack))
    await office.tell(event(1, "a", text="a fires"))
    slack.answers = [said({"ok": False, "error": "token_revoked"})] * (1 + refused)
    await office.tell(event(2, "a", text="a ends"), event(3, "a", text="a fires again"))
    slack.posted.clear()
    await office.judged()
    assert slack.posted == []
    await office.tell(event(4, "a", text="a ends at last"))
    assert [one["text"].split(" [")[0] for one in slack.posted] == ["a ends at last"]


async def test_an_alert_that_was_refused_by_itself_is_in_the_next_digest(slack):
    """It fires, and nobody has heard."""
    slack.answers = [said({"ok": False, "error": "channel_not_found"})]
    office = Office(transport("bot", slack))
    await office.tell(event(1, "a", text="a"))
    await office.judged()
    assert heard(slack) == [["a"], ["a"]]


class Slow:
    """A transport that takes its time."""

    name = "log"

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.told: list[str] = []
        self.go = asyncio.Event()

    async def send(self, notice: Notice) -> Attempt:
        """Wait, then remember."""
        self.begun.append(notice.text.split(" [")[0])
        await self.go.wait()
        self.told.append(notice.text.split(" [")[0])
        return Attempt(Verdict.SENT)


async def test_an_alert_that_ends_while_it_is_told_ends_after_it():
    """Each partition has its own line: what ends in one waits for a digest that another tells, anything else does not."""
    slow, both = Slow(), ["1 alert fires that nobody was told of: a", "b fires"]
    office = Office(slow, StateTable(), StateTable(), StateTable())
    await office.tell(old("a"), partition=1)
    for partition in (1, 2):
        await office.judged(partition=partition)
    digesting = asyncio.create_task(office.judged(partition=0))
    await asyncio.sleep(0)
    ending = asyncio.create_task(office.tell(event(2, "a", text="a ends"), partition=1))
    other = asyncio.create_task(office.tell(event(1, "b", text="b fires"), partition=2))
    await asyncio.sleep(0.01)
    assert slow.begun == both
    slow.go.set()
    await asyncio.gather(digesting, ending, other)
    assert slow.told == [*both, "a ends"]


async def test_rows_of_before_there_were_digests_say_no_more_than_that(slack):
    """Who was not told is not told of the end."""
    table = StateTable()
    table.put(b"sent:a", b"1")
    table.put(b"unheard:a", b"1")
    office = Office(transport("bot", slack), table)
    await office.judged()
    await office.tell(event(2, "a"))
    assert (slack.posted, table.get(b"unheard:a")) == ([], None)


# ------------------------------------------------------------------ what it says


def said_in(notice: Notice) -> tuple[str, list[str]]:
    """Return the head and the lines of a digest's block."""
    [block] = notice.blocks
    head, named = block["elements"]
    assert (block["type"], head["type"], named["type"]) == ("rich_text", "rich_text_section", "rich_text_list")
    words = [one["text"] for section in named["elements"] for one in section["elements"]]
    return head["elements"][1]["text"], words


NAMES = st.text(max_size=400) | st.sampled_from(["&" * 900, "<!channel>\n" * 99, "\u202e\u2028\x00", "🟢" * 999])
EVENTS = st.builds(
    lambda text, rule, n, k: old("a", text=text, rule=rule, n=n, k=k),
    NAMES,
    NAMES,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)


@given(events=st.lists(EVENTS, min_size=1, max_size=3) | st.lists(EVENTS, min_size=MOST_NAMED - 1, max_size=MOST_NAMED + 3))
def test_a_digest_fits_slack_however_many_there_are(events):
    """A message of 13,000 characters at most, 40,000 in its escaped text; one line each, twenty of them, and how many more."""
    found = digest(events)
    head, lines = said_in(found)
    more = len(events) - MOST_NAMED
    assert len(head) + sum(map(len, lines)) <= 13_000
    assert len(escape(found.text)) <= 40_000
    assert all(len(line) <= MAX_LINE and line.isprintable() for line in (head, *lines, found.text[:MAX_LINE]))
    assert len(lines) == (MOST_NAMED + 1 if more > 0 else len(events))
    assert (lines[-1] == f"and {more} more") == (more > 0)
    assert head.startswith(f" {len(events)} alert")


def test_two_hundred_alerts_are_named_by_what_is_lost():
    """Of both kinds the entries that went otherwise than as a rule; the rest is a number."""
    events = [old(f"alert {n}", n=1000, k=200 - n) for n in range(200)]
    events.append(old("late", kind="response_rise", n=100, k=90, baseline=0.1, text="late"))
    _, lines = said_in(digest(events))
    assert [line.split(" [")[0] for line in lines] == [*(f"alert {n}" for n in range(199, 179, -1)), "and 181 more"]
    assert message.lost(events[-1]) == 80


def test_one_alert_is_one():
    """And says since when, and by which rule."""
    found = digest([old("a", since=days(20))])
    assert found.text == "1 alert fires that nobody was told of: a [drop, since 2024-02-10T12:00:00+00:00]"
    assert found.blocks[0]["elements"][0]["elements"] == [
        {"type": "emoji", "name": "red_circle"},
        {"type": "text", "text": " 1 alert fires that nobody was told of:"},
    ]
