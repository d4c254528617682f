"""What counts as a difference, and what law 1 does not speak of."""

from bisect import bisect_right

import msgspec
import pytest

from streams.audit import read
from streams.audit.compare import Comparison, differences, latest_watermark
from streams.audit.compare import compare as compare_under
from streams.kpis.catalogue import ENTITY_FIELDS
from streams.topics import KPI_LATEST, STAGE_CHANGE
from tests.audit.tables import Numbers, act, change, settings, us
from tests.in_memory import InMemory

WATERMARK = "2024-06-15 12:07"
NOON = "2024-06-15T12:07:00+00:00"
HISTORY = [
    change("1", "2024-03-04 10:00", "New", rep_id="anna", amount="100"),
    change("2", "2024-05-05 10:00", "Won"),
    change("1", "2024-06-14 10:00", "New", deal_id="e"),
    act("a", "2024-05-04 10:30"),
    act("b", "2024-06-15 10:30", duration_ms=1500),
    act("c", "2024-06-15 12:06"),
]


TODAY = us("2024-06-15 00:00")
GRACE_ENDED = "2024-06-15T11:07:00+00:00"


def compare(*told) -> Comparison:
    return compare_under(told[0], settings(), *told[1:])


def expected(events=HISTORY):
    return Numbers(events, watermark=WATERMARK).records


def published(records):
    """Write what is expected as KPI records; what is optional too."""
    return [
        {
            "kpi": kpi, "cut": cut, "entity": dict(zip(ENTITY_FIELDS[cut], entity, strict=True)),
            "window": {"name": name, "start": start, "end": one.end}, "currency": currency,
            "value": one.value, "unit": one.unit, "n": one.n, "numerator": one.numerator, "denominator": one.denominator,
            "stats": one.stats and dict(one.stats), "previous": one.previous, "watermark": NOON,
            "final": one.end is not None and one.end <= GRACE_ENDED, "revision": 7,
            "mature_share": share_of(records, (kpi, cut, entity, name, start, currency)),
            "pace": None, "target": None, "attainment": None,
        }
        for (kpi, cut, entity, name, start, currency), one in records.items()
    ]  # fmt: skip


def share_of(records, key):
    """Return the share of a cohort that is mature at the watermark; of those who wait for an answer all count."""
    kpi = "first_response_answered" if key[0] in ("first_response_time", "first_response_business") else key[0]
    mature = records[kpi, *key[1:]].mature
    return bisect_right(mature, TODAY) / len(mature) if mature else None


def find(records, kpi, cut="all", window="all"):
    """Return the first of these records that has facts, to be changed in place."""
    return next(one for one in records if (one["kpi"], one["cut"], one["window"]["name"]) == (kpi, cut, window) and one["n"])


def is_current(record):
    return record["window"]["end"] is None or record["window"]["end"] > NOON


def test_the_right_records_agree():
    """All of them, in one heap and by topic."""
    table = expected()
    records = published(table)
    assert compare(table, records) == {
        "compared": len(table), "different": 0, "missing": 0, "unexpected": 0, "examples": []
    }  # fmt: skip
    assert compare(table, records, [one for one in records if is_current(one)])["different"] == 0


@pytest.mark.parametrize(
    ("kpi", "window", "field", "value"),
    [
        ("calls", "all", "value", 4),
        ("calls", "all", "n", 2),
        ("calls", "month", "previous", 7),
        ("calls", "all", "unit", "ratio"),
        ("lead_conversion", "all", "numerator", 0),
        ("lead_conversion", "all", "denominator", 1),
        ("lead_conversion", "all", "value", 0.500001),
        ("calls", "all", "stats", None),
        ("revenue", "all", "value", 100.01),
        ("revenue", "all", "value", None),
        ("revenue", "all", "numerator", 100.0),
        ("oldest_waiting", "now", "value", 0),
    ],
)
def test_every_field_of_law_one_is_compared(kpi, window, field, value):
    """One wrong field is one difference, and the example names it."""
    table = expected()
    records = published(table)
    record = find(records, kpi, window=window)
    assert record[field] != value
    record[field] = value
    found = compare(table, records)
    assert (found["different"], [one["field"] for one in found["examples"]]) == (1, [field])
    assert found["examples"][0]["found"] == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("final", True),
        ("mature_share", 0.5),
        ("pace", 3),
        ("target", 5),
        ("attainment", 0.5),
        ("revision", 0),
        ("revision", True),
        ("revision", "7"),
        ("watermark", None),
        ("watermark", "2024-06-15T12:07:01+00:00"),
    ],
)
def test_what_stands_beside_the_number_is_compared(field, value):
    """It follows from the record's own watermark, or must not be there."""
    table = expected()
    records = published(table)
    record = find([one for one in records if is_current(one)], "calls", window="month")
    assert record[field] != value
    record[field] = value
    found = compare(table, records)
    assert (found["different"], [one["field"] for one in found["examples"]]) == (1, [field])
    assert found["examples"][0]["found"] == value


@pytest.mark.parametrize(("watermark", "final"), [("00:59:59.999999", False), ("01:00:00", True), ("12:07:00", True)])
def test_a_record_is_final_when_its_own_watermark_has_passed_the_end_and_the_grace(watermark, final):
    """The day of the 14th; the grace is an hour."""
    table = expected()
    records = published(table)
    day = next(one for one in records if one["window"]["start"] == "2024-06-14T00:00:00+00:00" and one["kpi"] == "new_leads")
    day |= {"final": final, "watermark": f"2024-06-15T{watermark}+00:00"}
    assert compare(table, records)["different"] == 0
    day["final"] = not final
    assert [one["field"] for one in compare(table, records)["examples"]] == ["final"]


@pytest.mark.parametrize(("watermark", "share"), [("2024-04-01T23:59:59", 0.0), ("2024-04-02T00:00:00", 1.0)])
def test_a_cohort_matures_as_of_the_records_own_watermark(watermark, share):
    """Created on 4 March, 28 days for whoever came with the end of that day: with the beginning of 2 April."""
    table = expected()
    records = published(table)
    march = [one for one in records if one["window"]["start"] == "2024-03-01T00:00:00+00:00" and one["n"]]
    record = find(march, "lead_conversion", window="month")
    assert record["mature_share"] == 1.0
    record |= {"mature_share": share, "watermark": f"{watermark}+00:00", "final": watermark > "2024-04-01T01"}
    assert compare(table, records)["different"] == 0
    for wrong in (1 - share, 0.5, None, "1"):
        record["mature_share"] = wrong
        assert [one["field"] for one in compare(table, records)["examples"]] == ["mature_share"], wrong


def test_the_mature_share_of_answers_is_held_to_what_it_can_be():
    """Who came without an answer since they were told is not known: in a window that is mature to its end it must be 1."""
    table = expected([*HISTORY, act("t", "2024-03-05 10:00", direction="outbound")])
    records = published(table)
    record = find(records, "first_response_time", window="month")
    assert record["mature_share"] == 1.0
    record["mature_share"] = 0.9
    assert [one["field"] for one in compare(table, records)["examples"]] == ["mature_share"]
    record["mature_share"] = 1.0
    life = find(records, "first_response_time")
    life["mature_share"] = 0.9
    assert compare(table, records)["different"] == 0
    life["mature_share"] = None
    assert compare(table, records)["different"] == 1


@pytest.mark.parametrize(("factor", "different"), [(1.0099, 0), (0.9901, 0), (1.011, 1), (0.989, 1)])
def test_percentiles_may_be_one_percent_off(factor, different):
    """Value and p50, p90 come from a histogram; the mean does not."""
    table = expected()
    records = published(table)
    record = find(records, "sales_cycle")
    record["value"] *= factor
    assert compare(table, records)["different"] == different
    record = find(records, "sales_cycle", window="year")
    record["stats"]["mean"] *= 1.0001
    assert compare(table, records)["different"] == different + 1


def test_stats_of_p90_are_compared():
    """And an unknown name among the stats is a difference."""
    table = expected()
    records = published(table)
    find(records, "sales_cycle")["stats"]["p90"] *= 1.02
    find(records, "calls")["stats"]["sideways"] = 0
    assert {one["field"] for one in compare(table, records)["examples"]} == {"stats.p90", "stats"}


def test_missing_records_are_differences():
    """Only those with facts must be there."""
    table = expected()
    records = published(table)
    absent = find(records, "calls")
    found = compare(table, [one for one in records if one is not absent and one["n"] > 0])
    assert (found["missing"], found["different"]) == (1, 1)
    assert found["examples"][0]["key"] == ["calls", "all", (), "all", None, None]


def test_unexpected_records_are_differences_unless_they_are_empty():
    """A rep who never called: with 1 call a difference, with 0 or null none."""
    table = expected()
    extra = published(table)[0] | {"cut": "rep", "entity": {"rep_id": "ghost"}}
    assert compare(table, [*published(table), extra | {"n": 1, "value": 1}])["unexpected"] == 1
    assert compare(table, [*published(table), extra | {"n": 0, "value": 0}])["different"] == 0
    assert compare(table, [*published(table), extra | {"n": 0, "value": None}])["different"] == 0


def test_a_record_whose_fields_make_no_key_is_a_difference():
    """An entity that does not fit the cut, a KPI that is not in the catalogue."""
    table = expected()
    wrong = published(table)[0]
    strangers = [wrong | {"entity": {"rep_id": "x", "team": "y"}}, wrong | {"kpi": "luck"}, {"kpi": "calls"}]
    assert compare(table, [*published(table), *strangers])["unexpected"] == 3


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("entity", {"team": ["Central"]}),
        ("window", {"name": "month", "start": "June", "end": "2024-07-01T00:00:00+00:00"}),
        ("window", {"name": "month", "start": "2024-06-01T00:00:00+00:00"}),
        ("window", {"name": "28d", "start": "2024-06-01T00:00:00+00:00", "end": None}),
        ("window", {"name": "month", "start": "2024-06-01", "end": "2024-07-01"}),
        ("kpi", ["revenue"]),
        ("currency", {}),
    ],
)
def test_a_record_that_no_worker_wrote_is_one_too_many(field, told):
    """It is a difference and no end of the audit, and its watermark is not that of the others."""
    records = expected()
    foreign = {**find(published(records), "win_rate", "team"), field: told, "watermark": "2999-01-01T00:00:00+00:00"}
    found = compare(records, [*published(records), foreign])
    assert (found["different"], found["unexpected"]) == (1, 1)
    assert latest_watermark([foreign]) is None


@pytest.mark.parametrize("told", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "yesterday", 7, "2024-06-15"])
def test_a_watermark_that_is_no_instant_of_ours_is_a_difference(told):
    """Zones know no day before the first year, nor behind the last."""
    records = expected()
    right = published(records)
    find(right, "win_rate", "team")["watermark"] = told
    assert compare(records, right)["different"] == 1
    assert latest_watermark([{**find(published(records), "revenue"), "watermark": told}]) is None


def test_empty_record_with_facts_before_it_must_know_them():
    """Nothing in June, one win in May: the record may be absent; present, its previous must be right."""
    table = expected()
    june = find(published(table), "revenue", window="month") | {
        "window": {"name": "month", "start": "2024-06-01T00:00:00+00:00", "end": "2024-07-01T00:00:00+00:00"}
    }
    others = [one for one in published(table) if one["kpi"] != "revenue" or one["window"] != june["window"]]
    right = june | {"n": 0, "value": None, "previous": 100.0, "final": False}
    assert compare(table, others)["different"] == 0
    assert compare(table, [*others, right])["different"] == 0
    assert compare(table, [*others, right | {"previous": None}])["different"] == 1


def test_snapshots_of_the_past_are_allowed_in_history_only():
    """Rolling windows of the past and levels of a day belong to the history."""
    table = expected()
    rolling = find(published(table), "calls", window="7d") | {
        "window": {"name": "7d", "start": "2024-06-01T00:00:00+00:00", "end": "2024-06-08T00:00:00+00:00"},
        "final": True,
    }
    level = find(published(table), "active_deals", window="now") | {
        "window": {"name": "day", "start": "2024-06-01T00:00:00+00:00", "end": "2024-06-02T00:00:00+00:00"},
        "final": True,
    }
    records = published(table)
    current = [one for one in records if is_current(one)]
    assert compare(table, [*records, rolling, level], current)["different"] == 0
    assert compare(table, records, [*current, rolling, level])["unexpected"] == 2


def test_snapshots_are_allowed_when_nothing_is_left():
    """The only deal was deleted: the snapshots of its days stay in the history, all else is an unexpected record."""
    table = expected([HISTORY[0]])
    records = published(table)
    rolling = find(records, "new_leads", window="all") | {
        "window": {"name": "7d", "start": "2024-03-01T00:00:00+00:00", "end": "2024-03-08T00:00:00+00:00"},
        "final": True,
    }
    level = find(records, "active_deals", window="now") | {
        "window": {"name": "day", "start": "2024-03-04T00:00:00+00:00", "end": "2024-03-05T00:00:00+00:00"},
        "final": True,
    }
    assert compare({}, [rolling, level])["different"] == 0
    assert compare({}, records)["unexpected"] == sum(one["n"] > 0 for one in records)


def test_rolling_window_ahead_of_the_watermark_is_a_difference():
    """The week that ends tomorrow night is not the one at the watermark."""
    table = expected()
    ahead = find(published(table), "calls", window="7d") | {
        "window": {"name": "7d", "start": "2024-06-10T00:00:00+00:00", "end": "2024-06-17T00:00:00+00:00"}
    }
    assert compare(table, [*published(table), ahead])["unexpected"] == 1


def test_latest_holds_the_window_at_the_watermark_and_no_other():
    """March's calls are history; June's must be in latest, not only in history."""
    table = expected()
    records = published(table)
    may = find([one for one in records if one["window"]["start"] == "2024-05-01T00:00:00+00:00"], "calls", window="month")
    current = [one for one in records if is_current(one)]
    assert [one["field"] for one in compare(table, records, [*current, may])["examples"]] == ["window"]
    june = find(current, "calls", window="month")
    assert compare(table, records, [one for one in current if one is not june])["missing"] == 1


def test_window_with_another_end_is_a_difference():
    """Same start, one day longer."""
    table = expected()
    records = published(table)
    find(records, "calls", window="7d")["window"]["end"] = "2024-06-17T00:00:00+00:00"
    assert [one["field"] for one in compare(table, records)["examples"]] == ["end"]


def test_age_is_as_of_the_records_own_watermark():
    """A record published ten minutes earlier was ten minutes younger; a wrong age is a difference all the same."""
    table = expected()
    records = published(table)
    record = find(records, "oldest_waiting", window="now")
    record |= {"watermark": "2024-06-15T11:57:00+00:00", "value": record["value"] - 600}
    assert compare(table, records)["different"] == 0
    record["value"] += 1
    assert compare(table, records)["different"] == 1


def test_days_that_are_gone_are_not_compared():
    """A day of 2022 says what it said when it was last corrected."""
    table = expected()
    old = find(published(table), "calls", window="day") | {
        "window": {"name": "day", "start": "2022-06-01T00:00:00+00:00", "end": "2022-06-02T00:00:00+00:00"}
    }
    assert compare(table, [*published(table), old])["different"] == 0


def test_examples_are_few():
    """Twenty are enough to see what is wrong; all are counted."""
    table = expected()
    found = compare(table, [])
    assert len(found["examples"]) == 20
    assert found["different"] == found["missing"] == sum(one.required for one in table.values())


@pytest.mark.parametrize(
    ("kpi", "field", "told", "wrong"),
    [
        pytest.param("revenue", "value", 12_345_678_901.23, 12_345_678_901.24, id="a cent of twelve billion"),
        pytest.param("avg_deal_size", "numerator", 10.0**13, 10.0**13 + 0.01, id="a cent of ten trillion"),
        pytest.param("new_leads", "value", 10**12, 10**12 + 1, id="one of a trillion"),
        pytest.param("activities", "n", 10**12, 10**12 + 1, id="one of a trillion that it stands on"),
    ],
)
def test_counts_and_sums_are_exact_however_large(kpi, field, told, wrong):
    """Nothing is divided in them, so there is nothing that could be near."""
    records = expected()
    key = next(key for key in records if key[:2] == (kpi, "all"))
    one = msgspec.structs.replace(records[key], **{field: told})
    record = next(
        one for one in published(records) if one["kpi"] == kpi and one["cut"] == "all" and one["window"]["name"] == key[3]
    )
    for said, fields in ((told, []), (wrong, [field])):
        found = differences(key, one, {**record, field: said}, in_latest=False)
        assert [name for name, *_ in found] == fields


def test_where_every_deal_was_deleted_the_zeros_of_latest_are_of_no_future(monkeypatch):
    """Nothing is expected then, and history is older: the last deal came, and went, on a day that has not closed."""
    flow = InMemory(settings(partitions=1))
    events = [
        change("a", "2024-03-01 10:00", "New"),
        change("b", "2024-03-02 10:00", deleted=True),
        change("a", "2024-03-04 10:00", "New", deal_id="e"),
        change("b", "2024-03-04 11:00", deal_id="e", deleted=True),
    ]
    for event in events:
        flow.feed([event])
    assert all(told["n"] == 0 for told in flow.latest.values())
    assert flow.latest
    assert flow.history
    records = {True: flow.latest, False: flow.history}
    monkeypatch.setattr(read, "read_events", lambda _, topic, *__: events if topic == STAGE_CHANGE else [])
    monkeypatch.setattr(read, "read_records", lambda _, topic, __: list(records[topic == KPI_LATEST].values()))
    assert read.run_audit({}, flow.definitions)["examples"] == []
