"""How is each KPI worked out?  From a cell of integers to value, n, numerator, denominator and stats."""

import pytest

from streams.events.contract import ACTIVITY_TYPES
from streams.kpis.catalogue import CATALOGUE
from streams.kpis.formulas import FORMULAS, OLDEST_WAITING, Value, compile_cut, major, oldest
from streams.panes.cell import Measure, currency_code, kinds
from streams.panes.histogram import bucket, middle
from tests.audit.tables import settings

EUR, JPY, KWD = map(currency_code, ("EUR", "JPY", "KWD"))
CALL, EMAIL = ACTIVITY_TYPES.index("call"), ACTIVITY_TYPES.index("email")


def cell(*entries):
    """Return a cell of (measure, amount) and (measure, sub, amount)."""
    return {one[0] << 16 | (one[1] if len(one) == 3 else 0): one[-1] for one in entries}


def work_out(kpi, *entries):
    return FORMULAS[kpi].work_out(cell(*entries))


@pytest.mark.parametrize(
    ("kpi", "measure"),
    [
        ("leads_in_funnel", Measure.LEADS),
        ("active_deals", Measure.ACTIVE),
        ("new_leads", Measure.NEW_LEADS),
        ("stage_entered", Measure.ENTERED),
        ("stage_left", Measure.LEFT),
        ("waiting_leads", Measure.WAITING),
    ],
)
def test_a_count_is_its_own_n(kpi, measure):
    """Numerator and denominator are not there."""
    assert work_out(kpi, (measure, 7)) == {"": Value(7, 7)}


@pytest.mark.parametrize(
    ("kpi", "above", "below"),
    [
        ("stage_conversion", Measure.COHORT_ADVANCED, Measure.COHORT_ENTERED),
        ("lead_conversion", Measure.CREATED_WON, Measure.CREATED),
        ("connect_rate", Measure.CONNECTED_CALLS, Measure.OUTBOUND_CALLS),
        ("first_response_answered", Measure.ANSWERED, Measure.ASKED),
        ("first_response_within_sla", Measure.WITHIN_SLA, Measure.ASKED),
    ],
)
@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (1, 3, Value(1 / 3, 3, 1, 3)),
        (0, 3, Value(0.0, 3, 0, 3)),
        (3, 3, Value(1.0, 3, 3, 3)),
        (0, 0, Value(None, 0, 0, 0)),
    ],
    ids=["some", "none-of-them", "all-of-them", "nothing-to-divide-by"],
)
def test_a_ratio_is_not_rounded_and_carries_what_it_divides(kpi, above, below, numerator, denominator, expected):
    """N is the denominator."""
    assert work_out(kpi, (above, numerator), (below, denominator)) == {"": expected}


@pytest.mark.parametrize(
    ("won", "lost", "rate", "ratio"),
    [
        (153, 98, Value(153 / 251, 251, 153, 251), Value(153 / 98, 251, 153, 98)),
        (2, 0, Value(1.0, 2, 2, 2), Value(None, 2, 2, 0)),
        (0, 2, Value(0.0, 2, 0, 2), Value(0.0, 2, 0, 2)),
    ],
    ids=["both", "only-won", "only-lost"],
)
def test_won_against_closed_and_against_lost(won, lost, rate, ratio):
    """N is won and lost for both."""
    entries = (Measure.WON, won), (Measure.LOST, lost)
    assert work_out("win_rate", *entries) == {"": rate}
    assert work_out("won_lost_ratio", *entries) == {"": ratio}


DISTRIBUTIONS = {
    "time_in_stage": (Measure.LEFT, Measure.STAY_MS, Measure.STAY),
    "sales_cycle": (Measure.WON_CYCLES, Measure.WON_CYCLE_MS, Measure.WON_CYCLE),
    "closed_cycle": (Measure.CLOSED_CYCLES, Measure.CLOSED_CYCLE_MS, Measure.CLOSED_CYCLE),
    "first_response_time": (Measure.ANSWERED, Measure.RESPONSE_MS, Measure.RESPONSE),
    "first_response_business": (Measure.ANSWERED, Measure.BUSINESS_MS, Measure.BUSINESS),
}


@pytest.mark.parametrize("kpi", DISTRIBUTIONS)
def test_a_distribution_is_in_seconds_with_an_exact_mean(kpi):
    """1 s, 2 s and 60 s: the mean is 21 s to the last digit, p50 and p90 at nearest rank within 1 %."""
    count, total, histogram = DISTRIBUTIONS[kpi]
    entries = [(count, 3), (total, 63_000), *((histogram, bucket(one), 1) for one in (1_000, 2_000, 60_000))]
    p50, p90 = middle(bucket(2_000)) / 1000, middle(bucket(60_000)) / 1000
    assert work_out(kpi, *entries) == {"": Value(p50, 3, stats={"mean": 21.0, "p50": p50, "p90": p90})}


@pytest.mark.parametrize("kpi", DISTRIBUTIONS)
def test_a_distribution_of_nothing_is_not_known(kpi):
    """Null with n 0, without stats."""
    assert work_out(kpi) == {"": Value(None, 0)}


def test_durations_of_zero_are_zero_exactly():
    """The zero bucket is exact."""
    assert work_out("sales_cycle", (Measure.WON_CYCLES, 2), (Measure.WON_CYCLE, 0, 2))[""].value == 0.0


def test_money_is_one_value_a_currency_in_major_units():
    """Cents, yen and thousandths of a dinar; a sum of 0 that deals contributed to is there."""
    found = work_out(
        "revenue",
        (Measure.REVENUE, EUR, 123_450), (Measure.REVENUE_DEALS, EUR, 2),
        (Measure.REVENUE, JPY, 500), (Measure.REVENUE_DEALS, JPY, 1),
        (Measure.REVENUE_DEALS, KWD, 1),
    )  # fmt: skip
    assert found == {"EUR": Value(1234.5, 2), "JPY": Value(500, 1), "KWD": Value(0, 1)}


def test_average_deal_size_carries_revenue_and_deals():
    """100.01 over 3 deals, unrounded."""
    found = work_out("avg_deal_size", (Measure.REVENUE, EUR, 10_001), (Measure.REVENUE_DEALS, EUR, 3))
    assert found == {"EUR": Value(10_001 / 300, 3, 100.01, 3)}


@pytest.mark.parametrize(
    ("minor", "currency", "expected"),
    [
        (100, "EUR", 1), (101, "EUR", 1.01), (-250, "EUR", -2.5), (7, "JPY", 7), (1500, "KWD", 1.5),
        (10**17 + 100, "EUR", 10**15 + 1), (0, "EUR", 0),
    ],
)  # fmt: skip
def test_major_units_are_whole_numbers_where_they_are_whole(minor, currency, expected):
    """So large sums stay exact."""
    found = major(minor, currency)
    assert (found, type(found)) == (expected, type(expected))


def test_activities_by_type_and_direction():
    """A kind of activity has its own KPI; stats count directions as said."""
    entries = (
        (Measure.ACTIVITIES, CALL << 2 | 0, 1), (Measure.ACTIVITIES, CALL << 2 | 1, 2), (Measure.ACTIVITIES, CALL << 2 | 2, 4),
        (Measure.ACTIVITIES, EMAIL << 2 | 3, 8),
    )  # fmt: skip
    calls = {"inbound": 2, "outbound": 4, "internal": 0, "unknown": 1}
    assert work_out("calls", *entries) == {"": Value(7, 7, stats=calls)}
    assert work_out("activities", *entries) == {"": Value(15, 15, stats=calls | {"internal": 8})}
    assert work_out("emails", *entries)[""].value == 8


@pytest.mark.parametrize(("milliseconds", "seconds"), [(61_000, 61), (61_500, 61.5), (0, 0)])
def test_talk_time_in_seconds(milliseconds, seconds):
    """N is calls with a duration."""
    assert work_out("talk_time", (Measure.TALK_MS, milliseconds), (Measure.TALKS, 2)) == {"": Value(seconds, 2)}


@pytest.mark.parametrize(
    ("since", "waiting", "now", "expected"),
    [
        (None, 0, 5_000_000, Value(0, 0)),
        (1_000_000, 2, 5_000_000, Value(4, 2)),
        (1_000_000, 2, 5_500_000, Value(4.5, 2)),
        (1_000_000, 2, 5_500_999, Value(4.5, 2)),
        (1_000_001, 2, 5_000_000, Value(3.999, 2)),
        (9_000_000, 1, 5_000_000, Value(0, 1)),
    ],
    ids=["nobody", "whole", "fraction", "microseconds", "created-within-a-millisecond", "created-after-the-watermark"],
)
def test_the_oldest_waiting_lead_in_seconds(since, waiting, now, expected):
    """Never below nothing."""
    assert oldest(since, waiting, now) == expected


def test_every_kpi_of_the_catalogue_has_a_formula():
    """But the oldest waiting lead, which is no sum."""
    assert {kpi.id for kpi in CATALOGUE} == {*FORMULAS, OLDEST_WAITING}


def bits(kind, sub):
    """Return the bits of a mask that name an integer."""
    return kinds({kind << 16 | sub: 1})


def test_no_formula_reads_a_kind_that_its_mask_leaves_out():
    """What the mask does not name may change without anybody being told."""
    subs = {measure: [0, EUR] for measure in Measure} | {kind: [3] for _, _, kind in DISTRIBUTIONS.values()}
    subs[Measure.ACTIVITIES] = list(range(len(ACTIVITY_TYPES) << 2))
    everything = cell(*((measure, sub, 7) for measure, some in subs.items() for sub in some))
    for kpi, formula in FORMULAS.items():
        only = {key: amount for key, amount in everything.items() if formula.mask & bits(key >> 16, key & 0xFFFF)}
        assert formula.work_out(only) == formula.work_out(everything), kpi


def test_what_is_switched_off_or_not_of_a_cut_is_not_compiled():
    """By KPI, by cut, by base."""
    assert {one.kpi.id for one in compile_cut("customer", settings(), levels=False)} == {"revenue"}
    assert compile_cut("customer", settings(kpis={"revenue": False}), levels=False) == []
    assert compile_cut("customer", settings(cuts=["all"]), levels=False) == []
    assert {one.kpi.base for one in compile_cut("all", settings(), levels=True)} == {"level"}
