"""When does an alert fire, and when is it over?  Matured panes in, alerts out; nothing else decides."""

from __future__ import annotations

import json
import random
from pathlib import Path

import jsonschema
import msgspec
import orjson
import pytest
from referencing import Registry, Resource

from streams import metrics, topics
from streams.alerts.judge import Pane, threshold
from streams.alerts.room import AlertsRoom, fingerprint, watches
from streams.config import Definitions, Rule
from streams.kafka.room import Moment, StateTable
from streams.panes.text import percent
from tests.in_memory import delivered

DAY = 86_400_000_000
SCHEMAS = Path(__file__).parents[2] / "schemas"
DROP = Rule("drop", "conversion_drop", "stage")
RISE = Rule("rise", "response_rise", "team")
STAGE = ["stage", "default", "New"]
ENTITY = {"drop": STAGE, "gone": STAGE, "stays": STAGE, "rise": ["team", "Central"]}


class Court:
    """The alerts room on one partition."""

    def __init__(self, *rules, state=None):
        self.state = state or StateTable()
        self.room = AlertsRoom(Definitions(rules=rules))
        self.room.open(0, self.state)

    def judge(self, panes):
        """Return what is written on both topics."""
        run = [delivered(orjson.dumps({name: getattr(one, name) for name in one.__struct_fields__})) for one in panes]
        self.room.handle(0, topics.MATURED, run)
        return [(topic, json.loads(value)) for topic, _, _, value, _ in self.room.drain(Moment(0, frozenset((0,))))]

    def turns(self, panes):
        """Return the transitions and the days they came after."""
        return [(one["transition"], us_day(one["at"])) for topic, one in self.judge(panes) if topic == topics.ALERT_EVENTS]


def us_day(text):
    from datetime import datetime

    return datetime.fromisoformat(text).toordinal() - 719_163


def story(rule, *chapters, seed=7, n=20):
    """Return panes of n entries a day: so many days of each share of good ones."""
    rng, panes = random.Random(seed), []
    for days, share in chapters:
        for _ in range(days):
            k, day = sum(rng.random() < share for _ in range(n)), len(panes) + 1
            panes.append(Pane(rule.name, ENTITY[rule.name], day, n, k, day * DAY))
    return panes


def firing(rule):
    """Return how many alerts of a rule the metrics show as firing."""
    return metrics.REGISTRY.get_sample_value("dealpulse_alerts", {"rule": rule, "state": "firing"})


MARK = fingerprint("drop", STAGE).encode()


def watch_of(court):
    """Return the state of the alert of STAGE."""
    ((_, watch),) = watches(court.state)
    return watch


def names(turns):
    return [name for name, _ in turns]


# ------------------------------------------------------------------ learning


def test_nothing_is_judged_before_the_baseline_is_learned():
    """300 entries are 15 days of 20: a month of nothing at all afterwards is an alarm, before it is the baseline."""
    assert Court(DROP).turns(story(DROP, (15, 0.0))) == []
    assert names(Court(DROP).turns(story(DROP, (15, 0.5), (30, 0.0)))) == ["fired"]


def test_a_learned_baseline_is_published_with_one_standard_error_in_favour_of_silence():
    """60 of 300: 20 % less 2.3 %."""
    panes = [Pane("drop", ENTITY["drop"], day, 20, 4 if day <= 15 else 0, day * DAY) for day in range(1, 40)]
    alert = Court(DROP).judge(panes)[0][1]
    assert alert["baseline"] == pytest.approx(0.2 - (0.2 * 0.8 / 300) ** 0.5)


def test_a_configured_baseline_is_judged_from_the_first_pane():
    """The target that was set is what is published."""
    rule = Rule("drop", "conversion_drop", "stage", baseline=0.4)
    alert = Court(rule).judge(story(rule, (30, 0.05)))[0][1]
    assert (alert["state"], alert["baseline"]) == ("firing", 0.4)


# ------------------------------------------------------------------ another baseline

GIVEN = Rule("drop", "conversion_drop", "stage", baseline=0.2)
GIVEN_RISE = Rule("rise", "response_rise", "team", baseline=0.1)
HIGHER = Rule("drop", "conversion_drop", "stage", baseline=0.4)


@pytest.mark.parametrize(
    ("before", "now", "share"),
    [(DROP, HIGHER, 0.2), (GIVEN, HIGHER, 0.2), (HIGHER, GIVEN, 0.4), (GIVEN, DROP, 0.2)],
    ids=["configured at last", "raised", "lowered", "taken out"],
)
def test_another_baseline_wins_and_its_evidence_begins_anew(before, now, share):
    """What is told from then on is what a rule would tell that had always been so, and began that day."""
    panes, state = story(DROP, (100, share), (120, 0.05), (100, 0.30), (120, 0.0)), StateTable()
    assert Court(before, state=state).judge(panes[:100]) == []
    told = Court(now, state=state).judge(panes[100:])
    assert told == Court(now).judge(panes[100:])
    assert told


def test_a_baseline_below_what_was_bad_resolves_the_alert():
    """Fired at 8 % of 20 %; 5 % is normal from then on."""
    panes, state = story(DROP, (100, 0.20), (200, 0.08)), StateTable()
    assert names(Court(GIVEN, state=state).turns(panes[:160])) == ["fired"]
    lower = Rule("drop", "conversion_drop", "stage", baseline=0.05)
    told = Court(lower, state=state).judge(panes[160:])
    assert [(one["state"], one["baseline"]) for topic, one in told if topic == topics.ALERTS] == [("resolved", 0.05)]


@pytest.mark.parametrize("learned_n", [0, 100], ids=["configured at once", "configured while it was being learned"])
def test_the_state_of_an_earlier_version_goes_on(learned_n):
    """It kept how much had been learned when a baseline was configured; the evidence stays."""
    panes, state = story(DROP, (100, 0.20), (60, 0.08)), StateTable()
    Court(GIVEN, state=state).judge(panes[:101])
    mark = fingerprint("drop", ENTITY["drop"]).encode()
    watch = msgspec.msgpack.decode(state.get(mark))
    state.put(mark, msgspec.msgpack.encode([watch[0], learned_n, learned_n // 5, *watch[3:]]))
    assert Court(GIVEN, state=state).turns(panes[101:]) == Court(GIVEN).turns(panes)
    assert Court(GIVEN).turns(panes) != Court(GIVEN).turns(panes[101:])


@pytest.mark.parametrize(
    "said", [{"baseline": 0.0001}, {"baseline": 0.94}, {"budget_days": 1}, {"min_events": 1, "min_entries": 1}]
)
@pytest.mark.parametrize("rule", [DROP, RISE], ids=lambda rule: rule.name)
def test_the_outermost_settings_are_judged_without_an_error(rule, said):
    """Whatever dealpulse.yaml may say."""
    panes = story(rule, (100, 0.3), (60, 0.0), (60, 1.0), (60, 0.3))
    Court(msgspec.structs.replace(rule, **said)).judge(panes)


def test_a_small_baseline_is_recovered_from_only_when_it_is_reached():
    """2 of 1,000: none at all for a year is no recovery."""
    rule = Rule("drop", "conversion_drop", "stage", baseline=0.002)
    bad = [Pane("drop", ENTITY["drop"], day, 1000, 0, day * DAY) for day in range(1, 366)]
    good = [Pane("drop", ENTITY["drop"], day, 1000, 2, day * DAY) for day in range(366, 400)]
    turns = Court(rule).turns(bad + good)
    assert names(turns) == ["fired", "resolved"]
    assert turns[1][1] > 365


@pytest.mark.parametrize("n", [5, 100])
def test_what_never_converted_does_not_drop(n):
    """Below nothing there is nothing."""
    assert Court(DROP).turns(story(DROP, (400, 0.0), n=n)) == []


@pytest.mark.parametrize("share", [0.001, 0.003])
def test_a_small_share_that_never_changed_stays_within_its_budget(share):
    """20 runs of 20,000 entries in 400 days: at most every fifth has an alarm, where the budget is one in 365 days."""
    runs = [names(Court(DROP).turns(story(DROP, (400, share), n=50, seed=seed))) for seed in range(20)]
    assert sum(map(bool, runs)) <= 4


def test_a_small_learned_baseline_is_published_as_it_is():
    """10 of 14,000: 0.071 % less 0.023 %."""
    panes = [Pane("drop", ENTITY["drop"], day, 1000, int(day <= 10), day * DAY) for day in range(1, 60)]
    alert = Court(DROP).judge(panes)[0][1]
    share = 10 / 14_000
    assert alert["baseline"] == pytest.approx(share - (share * (1 - share) / 14_000) ** 0.5)


def test_a_baseline_is_learned_from_two_weeks_at_least():
    """No Monday stands for the week, however many entries it has."""
    panes = [Pane("drop", ENTITY["drop"], day, 1000, 400 if day == 1 else 200, day * DAY) for day in range(1, 15)]
    worse = [Pane("drop", ENTITY["drop"], day, 1000, 50, day * DAY) for day in range(15, 60)]
    assert Court(DROP).judge(panes) == []
    alert = Court(DROP).judge(panes + worse)[0][1]
    share, squares = 3_000 / 14_000, 160 + 13 * 40
    varied = (squares - 3_000 * share) / (share * (1 - share) * 13)
    assert alert["baseline"] == pytest.approx(share - (share * (1 - share) / 14_000 * varied) ** 0.5)


# ------------------------------------------------------------------ firing


@pytest.mark.parametrize("seed", range(8))
def test_a_drop_fires_soon_and_the_recovery_resolves_it(seed):
    """From 20 % to 8 % on day 101 and back on day 161: fired within 25 days of the one, resolved after the other."""
    turns = Court(DROP).turns(story(DROP, (100, 0.20), (60, 0.08), (200, 0.20), seed=seed))
    assert names(turns)[:2] == ["fired", "resolved"]
    assert 100 < turns[0][1] <= 125
    assert turns[1][1] > 160


@pytest.mark.parametrize("seed", range(8))
def test_a_rise_of_late_answers_fires_and_its_recovery_resolves_it(seed):
    """From 10 % answered late to 40 % and back; what is counted is who was not answered in time."""
    turns = Court(RISE).turns(story(RISE, (100, 0.9), (60, 0.6), (200, 0.9), seed=seed))
    assert names(turns)[:2] == ["fired", "resolved"]
    assert 100 < turns[0][1] <= 120
    assert turns[1][1] > 160


@pytest.mark.parametrize(("rule", "share"), [(DROP, 0.2), (RISE, 0.9)], ids=["drop", "rise"])
def test_a_healthy_team_stays_within_its_budget(rule, share):
    """40 runs of 10,000 entries in 500 days each: at most one false alarm in 365 days on average."""
    days, false_alarms = 500, 0
    for seed in range(40):
        false_alarms += names(Court(rule).turns(story(rule, (days, share), seed=seed))).count("fired")
    assert false_alarms <= 40 * days / rule.budget_days


@pytest.mark.parametrize("n", [100, 500])
@pytest.mark.parametrize(("rule", "weekdays", "weekends"), [(DROP, 0.2, 0.12), (RISE, 0.9, 0.84)], ids=["drop", "rise"])
def test_weekends_stay_within_the_budget(rule, weekdays, weekends, n):
    """Days differ by more than the chance of independent entries, and nothing changes: taken for that, 500 a day made 24 alerts a year."""
    days, false_alarms = 364, 0
    for seed in range(10):
        weeks = [chapter for _ in range(days // 7) for chapter in ((5, weekdays), (2, weekends))]
        false_alarms += names(Court(rule).turns(story(rule, *weeks, seed=seed, n=n))).count("fired")
    assert false_alarms <= 10 * days / rule.budget_days


@pytest.mark.parametrize(("rule", "weekdays", "weekends"), [(DROP, 0.2, 0.12), (RISE, 0.9, 0.8)], ids=["drop", "rise"])
def test_weekends_stay_within_the_budget_where_ever_more_come_in(rule, weekdays, weekends):
    """From 20 a day to 500 in two years: two weeks of 20 say hardly anything of weekends, and these made up to 24 alerts."""
    days, false_alarms = 728, 0
    for seed in range(20):
        rng, panes = random.Random(seed), []
        for day in range(1, days + 1):
            n, share = round(20 * 25 ** (day / days)), weekends if day % 7 > 4 else weekdays
            panes.append(Pane(rule.name, ENTITY[rule.name], day, n, sum(rng.random() < share for _ in range(n)), day * DAY))
        false_alarms += names(Court(rule).turns(panes)).count("fired")
    assert false_alarms <= 20 * days / rule.budget_days


def test_how_days_differ_is_learned_on_for_a_quarter_of_a_year_and_the_baseline_is_not():
    """Two weeks of days that are alike, then 18 and 22 of 100 in turn: for a quarter of a year, and no longer."""
    even = [Pane("drop", ENTITY["drop"], day, 100, 20, day * DAY) for day in range(1, 15)]
    uneven = [Pane("drop", ENTITY["drop"], day, 100, 22 - 4 * (day % 2), day * DAY) for day in range(15, 365)]
    court = Court(DROP)
    court.judge(even)
    before = watch_of(court)
    assert court.judge(uneven) == []
    after = watch_of(court)
    assert (after.baseline, after.learned_days, after.learned_n) == (before.baseline, 91, 9_100)


def test_what_is_seen_while_an_alert_fires_is_no_difference_between_days():
    """It is another share."""
    court = Court(DROP)
    court.judge(story(DROP, (30, 0.20), (30, 0.0)))
    before = watch_of(court)
    court.judge(story(DROP, (30, 0.20), (60, 0.0)))
    assert before.firing
    assert watch_of(court).learned_days == before.learned_days


def test_a_row_of_an_earlier_version_learns_how_days_differ_from_now_on():
    """It kept of how many entries its baseline is, and not of how many days."""
    panes, court = story(DROP, (60, 0.20)), Court(DROP)
    court.judge(panes[:40])
    row = msgspec.msgpack.decode(court.state.get(MARK))
    court.state.put(MARK, msgspec.msgpack.encode(row[:14]))
    court.judge(panes[40:])
    watch = watch_of(court)
    assert (watch.baseline, watch.learned_days, watch.learned_n) == (row[3], 20, 400)


@pytest.mark.parametrize(("n", "bad"), [(1, 0.08), (2, 0.08), (5, 0.08), (5, 0.12), (20, 0.12)])
def test_what_stays_bad_is_hardly_ever_told_as_over(n, bad):
    """20 runs of two bad years, 20 % wanted: at most three are told as over, however few come in a day."""
    runs = [names(Court(GIVEN).turns(story(GIVEN, (730, bad), n=n, seed=seed))) for seed in range(20)]
    assert sum("fired" in run for run in runs) >= 15
    assert sum("resolved" in run for run in runs) <= 3


def test_half_way_back_is_measured_from_all_that_was_bad_since_it_fired():
    """Fired at none of 40, then 12 of 100 every day: 15 % is less than half-way back to 20 %, though not from nothing."""
    counts = [(20, 0)] * 2 + [(100, 12)] * 60 + [(100, 15)] * 120 + [(100, 20)] * 60
    panes = [Pane("drop", ENTITY["drop"], day, n, k, day * DAY) for day, (n, k) in enumerate(counts, 1)]
    (fired, first), (resolved, last) = Court(GIVEN).turns(panes)
    assert (fired, resolved) == ("fired", "resolved")
    assert (first, last > 2 + 60 + 120) == (2, True)


@pytest.mark.parametrize(
    ("rule", "n", "bad"),
    [(GIVEN, 200, 0.18), (GIVEN, 30, 0.16), (GIVEN_RISE, 200, 1 - 0.115), (GIVEN_RISE, 60, 1 - 0.125)],
    ids=str,
)
def test_a_small_change_that_stays_is_told_as_over_within_its_budget(rule, n, bad):
    """Two years of a tenth fewer, six times: less than one end in a year of firing, although it fires for what looks like far more."""
    firing = ends = 0
    for seed in range(6):
        fired = None
        for name, day in Court(rule).turns(story(rule, (730, bad), n=n, seed=seed)):
            if name == "resolved":
                firing, ends, fired = firing + day - fired, ends + 1, None
            else:
                fired = day
        firing += 730 - fired if fired else 0
    assert firing > 730
    assert ends < firing / 365


def test_an_alert_whose_baseline_is_taken_out_is_judged_by_it_until_it_is_over():
    """What is seen while it fires is no baseline: learned at nothing converted, it would fire for ever."""
    panes, state = story(DROP, (60, 0.05), (60, 0.0), (200, 0.20)), StateTable()
    assert names(Court(GIVEN, state=state).turns(panes[:60])) == ["fired"]
    (turn,) = Court(DROP, state=state).turns(panes[60:])
    assert (turn[0], turn[1] > 120) == ("resolved", True)


@pytest.mark.parametrize(
    ("rule", "n", "good"),
    [(GIVEN, 10_000, 1_600), (GIVEN, 10**9, 175 * 10**6), (GIVEN_RISE, 10_000, 8_750)],
    ids=["drop", "drop of an eighth", "rise"],
)
def test_the_more_come_in_the_sooner_a_small_change_is_told(rule, n, good):
    """Counted towards a halved share alone, a fifth less of ten thousand a day was never told: each day the counts began anew."""
    panes = [Pane(rule.name, ENTITY[rule.name], day, n, good, day * DAY) for day in range(1, 4)]
    (turn, alert), *_ = Court(rule).judge(panes)
    assert (turn, alert["state"], us_day(alert["at"]), alert["n"]) == (topics.ALERTS, "firing", 1, n)


@pytest.mark.parametrize(("n", "days"), [(5, 200), (20, 60), (60, 20)])
def test_a_recovery_is_told(n, days):
    """20 runs of 100 days at 8 % and then 20 % again: most are told as over; the fewer come in a day, the later."""
    runs = [Court(GIVEN).turns(story(GIVEN, (100, 0.08), (days, 0.20), n=n, seed=seed)) for seed in range(20)]
    assert sum(any(name == "resolved" and day > 100 for name, day in run) for run in runs) >= 15


def test_a_larger_budget_asks_for_more_evidence():
    """One false alarm in ten years instead of one."""
    rare = Rule("drop", "conversion_drop", "stage", budget_days=3650)
    panes = story(DROP, (100, 0.20), (60, 0.08))
    assert threshold(rare) > threshold(DROP)
    assert Court(rare).turns(panes)[0][1] > Court(DROP).turns(panes)[0][1]


@pytest.mark.parametrize(("rule", "better"), [(DROP, 0.6), (RISE, 1.0)], ids=["drop", "rise"])
def test_better_than_the_baseline_is_no_alarm(rule, better):
    """The test looks to one side only."""
    assert Court(rule).turns(story(rule, (50, 0.3 if rule is DROP else 0.7), (200, better))) == []


def test_a_few_entries_are_no_alarm_however_bad_they_are():
    """Fewer than min_events since it began are not spoken of."""
    rule = Rule("drop", "conversion_drop", "stage", baseline=0.9, min_events=20)
    assert Court(rule).turns(story(rule, (1, 0.0), n=19)) == []
    assert names(Court(rule).turns(story(rule, (1, 0.0), n=20))) == ["fired"]


def test_the_message_speaks_of_the_change_and_not_of_the_good_year_before_it():
    """After a healthy year the share told is that of the bad weeks."""
    told = Court(DROP).judge(story(DROP, (365, 0.20), (60, 0.05), seed=3))
    alert = next(one for topic, one in told if topic == topics.ALERTS and us_day(one["at"]) > 365)
    assert alert["ratio"] < 0.12
    assert alert["n"] < 600


@pytest.mark.parametrize("good", [0, 20], ids=["never", "always"])
@pytest.mark.parametrize("rule", [DROP, RISE], ids=lambda rule: rule.name)
def test_shares_of_nothing_and_of_everything_are_judged_without_an_error(rule, good):
    """A baseline of 0 or 1 is kept away from both ends."""
    panes = [
        Pane(rule.name, ENTITY[rule.name], day, 20, good if day < 100 else 20 - good, day * DAY) for day in range(1, 200)
    ]
    assert len(Court(rule).turns(panes)) <= 2


# ------------------------------------------------------------------ the same panes, the same alerts


def test_the_same_panes_twice_change_nothing():
    """A pane of a day that was judged is not judged again."""
    court, panes = Court(DROP), story(DROP, (100, 0.20), (60, 0.08), (200, 0.20))
    court.judge(panes)
    before = dict(court.state.rows)
    assert court.judge(panes) == []
    assert court.state.rows == before


def test_a_replay_gives_the_same_alerts_to_the_last_byte():
    """No clock, no chance."""
    panes = story(DROP, (100, 0.20), (60, 0.08), (200, 0.20))
    assert Court(DROP).judge(panes) == Court(DROP).judge(panes)


@pytest.mark.parametrize("baseline", [None, 0.2], ids=["learned", "configured"])
def test_a_restart_after_every_pane_changes_nothing(baseline):
    """The state is all there is."""
    rule = Rule("drop", "conversion_drop", "stage", baseline=baseline)
    panes, state, told = story(DROP, (100, 0.20), (60, 0.08), (200, 0.20)), StateTable(), []
    for pane in panes:
        told += Court(rule, state=state).judge([pane])
    assert told == Court(rule).judge(panes)


def test_entities_and_rules_do_not_know_of_each_other():
    """Two stages interleaved: each as if alone."""
    panes = story(DROP, (100, 0.20), (60, 0.08))
    others = [Pane("drop", ["stage", "default", "Qualified"], one.day, one.n, one.n // 2, one.at) for one in panes]
    both = Court(DROP).judge([one for pair in zip(panes, others, strict=True) for one in pair])
    assert both == Court(DROP).judge(panes)


def test_a_rule_that_was_taken_out_is_not_judged():
    """Its panes may still be on the topic."""
    assert Court(RISE).judge(story(DROP, (100, 0.20), (60, 0.0))) == []


def test_an_alert_is_counted_as_firing_until_it_is_over():
    """By the metric: none, one, and none again, which has resolved."""
    rule = msgspec.structs.replace(GIVEN, name="stays")
    panes, court, counted = story(rule, (100, 0.20), (60, 0.05), (100, 0.30)), Court(rule), []
    for first, end in ((0, 100), (100, 160), (160, 260)):
        court.judge(panes[first:end])
        resolved = metrics.REGISTRY.get_sample_value("dealpulse_alerts", {"rule": "stays", "state": "resolved"})
        counted.append((firing("stays"), resolved))
    assert counted == [(0, 0), (1, 0), (0, 1)]


def test_what_never_fired_is_not_counted_as_resolved_by_who_takes_over():
    """It is being watched, and that is all."""
    rule, state = msgspec.structs.replace(GIVEN, name="stays"), StateTable()
    assert Court(rule, state=state).judge(story(rule, (100, 0.20))) == []
    Court(rule, state=state)
    assert metrics.REGISTRY.get_sample_value("dealpulse_alerts", {"rule": "stays", "state": "resolved"}) == 0


def test_every_revision_is_greater_than_those_of_an_earlier_generation():
    """It ended at 5,000: what the next one tells goes on behind it, on both topics."""
    court = Court(DROP)
    court.room = AlertsRoom(Definitions(rules=(DROP,)), first_revision=5_000)
    court.room.open(0, court.state)
    told = court.judge(story(DROP, (100, 0.20), (60, 0.05), (100, 0.30)))
    assert [one["revision"] for _, one in told] == [5_001, 5_001, 5_002, 5_002]


def test_the_alert_of_a_rule_that_was_taken_out_is_not_counted():
    """It stays in the state as it was told, and nothing will ever be told of it again."""
    gone, stays = (msgspec.structs.replace(DROP, name=name) for name in ("gone", "stays"))
    state = StateTable()
    before = Court(gone, stays, state=state)
    for rule in (gone, stays):
        assert names(before.turns(story(rule, (100, 0.20), (60, 0.05)))) == ["fired"]
    before.room.close(0)
    after = Court(stays, state=state)
    assert (firing("gone"), firing("stays")) == (0, 1)
    after.room.close(0)
    assert (firing("gone"), firing("stays")) == (0, 0)


def test_a_fingerprint_tells_rules_and_entities_apart_and_is_no_secret_of_time():
    """The same words always give the same text."""
    marks = {fingerprint(rule, entity) for rule in ("a", "b") for entity in (("rep", "x"), ("rep", "y"), ("team", "x"))}
    assert len(marks) == 6
    assert fingerprint("a", ["rep", "x"]) == fingerprint("a", ("rep", "x"))


# ------------------------------------------------------------------ the contract


def validator(name):
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")]
    registry = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in documents)
    return jsonschema.Draft202012Validator(
        json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")), registry=registry
    )


@pytest.mark.parametrize("rule", [DROP, RISE], ids=lambda rule: rule.name)
def test_alerts_and_alert_events_are_what_the_schemas_say(rule):
    """Fired and resolved, on both topics."""
    good, bad = (0.3, 0.05) if rule is DROP else (0.9, 0.5)
    told = Court(rule).judge(story(rule, (100, good), (60, bad), (200, good)))
    schemas = {topics.ALERTS: validator("alert.v1"), topics.ALERT_EVENTS: validator("alert-event.v1")}
    assert len(told) >= 4
    assert [error.message for topic, one in told for error in schemas[topic].iter_errors(one)] == []


def test_an_event_is_its_alert_and_what_became_of_it():
    """Both topics say the same; revisions count from 1."""
    told = Court(DROP).judge(story(DROP, (100, 0.3), (60, 0.05), (200, 0.3)))
    alerts = [one for topic, one in told if topic == topics.ALERTS]
    events = [one for topic, one in told if topic == topics.ALERT_EVENTS]
    assert [{key: value for key, value in one.items() if key != "transition"} for one in events] == alerts
    assert [one["revision"] for one in events] == list(range(1, len(events) + 1))


def test_the_sentence_says_how_many_of_how_many_the_bound_and_the_baseline():
    """What a person needs to judge it."""
    panes = [Pane("drop", ENTITY["drop"], day, 20, 8 if day <= 15 else 1, day * DAY) for day in range(1, 60)]
    alert = Court(DROP).judge(panes)[0][1]
    assert f"{alert['k']} of {alert['n']} converted" in alert["text"]
    assert "pipeline default, stage New" in alert["text"]
    assert f"baseline {alert['baseline']:.1%}" in alert["text"]


def test_the_sentence_of_late_answers_says_how_many_were_not_answered_in_time():
    """Some of them may never have been answered: it does not say that they were."""
    alert = Court(GIVEN_RISE).judge(story(GIVEN_RISE, (60, 0.5)))[0][1]
    late = f"Response time rose: team Central: {alert['k']} of {alert['n']} not answered in time ({percent(alert['ratio'])}, at least "
    assert alert["text"].startswith(late)
    assert alert["text"].endswith("at 99 %); baseline 10.0%.")
    assert alert["ratio"] > alert["baseline"]


def test_the_sentence_of_an_end_says_since_when_it_counts():
    """Not since the alert: 60 bad days came after it, and what is counted are the last days alone."""
    panes = story(DROP, (100, 0.20), (60, 0.05), (100, 0.20), seed=3)
    fired, over = [one for topic, one in Court(DROP).judge(panes) if topic == topics.ALERTS]
    since_the_alert = [one for one in panes if us_day(fired["at"]) < one.day <= us_day(over["at"])]
    counted = since_the_alert[-over["n"] // 20 :]
    assert len(counted) < len(since_the_alert) / 2
    assert (over["n"], over["k"]) == (sum(one.n for one in counted), sum(one.k for one in counted))
    assert f"{over['k']} of {over['n']} converted ({over['ratio']:.1%}) since the recovery most likely began" in over["text"]


def test_the_sentence_says_how_much_a_small_share_is():
    """4 of 10,000, and a bound of 0.027 %: one digit after the point would be 0.0 %."""
    rule = msgspec.structs.replace(DROP, baseline=0.0004)
    alert = Court(rule).judge([Pane("drop", ENTITY["drop"], day, 5000, 0, day * DAY) for day in range(1, 80)])[0][1]
    assert alert["text"].endswith("0 of 25000 converted (0.0%, at most 0.027% at 99 %); baseline 0.040%.")


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (0, "0.0%"), (1, "100.0%"), (0.2, "20.0%"), (0.0123, "1.2%"), (0.01, "1.0%"), (0.00333, "0.33%"), (0.0004, "0.040%"),
        (0.00000056, "0.000056%"),
    ],
)  # fmt: skip
def test_a_share_is_written_with_two_digits_at_least(share, written):
    """Nothing is nothing."""
    assert percent(share) == written


# ------------------------------------------------------------------ these are all


THAT_WAS_ALL = Pane("", [], 0, 0, 0, 30_000 * DAY)
AT = Moment(0, frozenset((0,)))


def test_that_these_are_all_is_told_to_every_partition_of_those_who_tell_people():
    """An alert may be in any of them."""
    room = AlertsRoom(Definitions(rules=(DROP,), partitions=3))
    room.open(1, StateTable())
    said = {name: getattr(THAT_WAS_ALL, name) for name in THAT_WAS_ALL.__struct_fields__}
    room.handle(1, topics.MATURED, [delivered(orjson.dumps(said))])
    told = room.drain(AT)
    assert [(topic, to, key) for topic, to, key, _, _ in told] == [(topics.JUDGED, to, b"1") for to in range(3)]
    assert {value for _, _, _, value, _ in told} == {b'{"partition":1,"at":%d}' % (30_000 * DAY)}
    assert (room.due(AT), room.drain(AT)) == (False, [])


def test_it_is_told_behind_the_alerts_in_a_transaction_of_its_own():
    """Else a reader may have it before the alerts that it speaks of."""
    court = Court(DROP)
    told = court.judge([*story(DROP, (60, 0.6), (60, 0.05)), THAT_WAS_ALL])
    assert {topic for topic, _ in told} == {topics.ALERTS, topics.ALERT_EVENTS}
    assert (court.room.due(AT), court.room.owes(AT)) == (True, True)
    assert {topic for topic, _ in court.judge([])} == {topics.JUDGED}
    assert (court.room.due(AT), court.room.owes(AT)) == (False, False)


def test_of_what_was_not_flushed_nothing_is_told():
    """The next owner hears it anew."""
    court = Court(DROP)
    court.judge([*story(DROP, (60, 0.6), (60, 0.05)), THAT_WAS_ALL])
    court.room.close(0)
    assert not court.room.due(AT)
