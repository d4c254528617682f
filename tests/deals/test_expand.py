"""Which cells does a fact touch?  Cuts, entities, measures and panes of each kind."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from streams.deals.contributions import WHOSE
from streams.deals.expand import Sums, expand
from streams.deals.terms import Kind, Terms
from streams.panes.cell import Measure, currency_code
from streams.panes.histogram import bucket
from streams.panes.pane import DAY, FINE, LEVEL, WAIT, pane
from tests.audit.tables import act, change, settings, us
from tests.deals.told import TERMS, deal_of, take, timeless

EVERYTHING = dict(zip(WHOSE, ("default", "New", "anna", "P1", "EU", "web", "c1"), strict=True))
NOON = us("2024-03-01 12:00")
FINE_NOON = NOON // 300_000_000


def fact(kind, when=FINE_NOON, a=None, b=None, **known):
    return kind, when, whose(**known), a, b


def whose(**known):
    return tuple(map(known.get, WHOSE))


# What a fact of these kinds cannot do without.
NUMBERS = {
    Kind.LEAVE: (1, None), Kind.CONVERSION: (False, False), Kind.COHORT: (False, False), Kind.CYCLE: (False, 1),
    Kind.MONEY: (0, 1), Kind.ACTIVITY: (0, False), Kind.TALK: (1, None), Kind.LEVEL: (False, None), Kind.VALUE: (0, 1),
    Kind.WAIT: (1, None),
}  # fmt: skip


def cuts_of(kind, terms=TERMS, **known):
    a, b = NUMBERS.get(kind, (None, None))
    return {entity[0]: entity[1:] for entity in expand([(fact(kind, a=a, b=b, **known), 1)], terms, 0)}


@pytest.mark.parametrize(
    ("kind", "cuts"),
    [
        (Kind.LEAD, "all pipeline team rep product region lead_source"),
        (Kind.ENTER, "stage rep_stage"),
        (Kind.LEAVE, "stage rep_stage"),
        (Kind.CONVERSION, "stage rep_stage"),
        (Kind.COHORT, "all pipeline team rep product region lead_source"),
        (Kind.RESPONSE, "all pipeline team rep lead_source"),
        (Kind.OUTCOME, "all pipeline team rep product region lead_source"),
        (Kind.CYCLE, "all pipeline team rep product region"),
        (Kind.MONEY, "all pipeline team rep product region lead_source customer"),
        (Kind.ACTIVITY, "all team rep rep_stage"),
        (Kind.TALK, "all team rep rep_stage"),
        (Kind.LEVEL, "all pipeline stage team rep product region lead_source"),
        (Kind.VALUE, "all pipeline stage team rep product region"),
        (Kind.WAIT, "all pipeline team rep lead_source"),
    ],
    ids=lambda one: one.name if isinstance(one, Kind) else "",
)
def test_the_cuts_of_each_kind(kind, cuts):
    """Those that the KPIs which read it name in the catalogue, and no others."""
    assert set(cuts_of(kind, **EVERYTHING)) == set(cuts.split())


@pytest.mark.parametrize("missing", ["pipeline", "rep", "product", "region", "lead_source", "customer"])
def test_what_is_not_known_is_not_in_that_cut(missing):
    """Nor is a rep's team when there is no rep."""
    gone = {missing, "team"} if missing == "rep" else {missing}
    known = {name: value for name, value in EVERYTHING.items() if name != missing}
    assert set(cuts_of(Kind.MONEY, **EVERYTHING)) - set(cuts_of(Kind.MONEY, **known)) == gone


@pytest.mark.parametrize("rep", ["cleo", "stranger"])
def test_a_rep_without_a_team_is_in_no_team(rep):
    """Neither one that is configured without, nor one that is not configured."""
    assert "team" not in cuts_of(Kind.LEAD, rep=rep)


def test_nothing_known_is_in_all_only():
    """An activity of nobody in no stage counts in the whole."""
    assert cuts_of(Kind.ACTIVITY) == {"all": ()}


def test_entity_values_stand_in_the_cuts_order():
    """rep_stage is rep, pipeline, stage; stage is pipeline, stage."""
    found = cuts_of(Kind.ENTER, **EVERYTHING)
    assert found == {"stage": ("default", "New"), "rep_stage": ("anna", "default", "New")}


def test_a_cut_that_is_not_configured_has_no_entities():
    """Only what the installation asks for."""
    assert set(cuts_of(Kind.MONEY, Terms(settings(cuts=["all", "rep"])), **EVERYTHING)) == {"all", "rep"}


def test_kpis_switched_off_have_no_cells():
    """Without both KPIs that read outcomes, a win makes only its other cells."""
    off = Terms(settings(kpis={"win_rate": False, "won_lost_ratio": False}))
    assert off.cuts[Kind.OUTCOME] == ()
    assert expand([(fact(Kind.OUTCOME, a=True), 1)], off, 0) == {}


def test_a_kind_keeps_the_cuts_of_the_kpis_that_are_still_on():
    """won_lost_ratio has no cut by product, win_rate does."""
    off = Terms(settings(kpis={"win_rate": False}))
    assert set(cuts_of(Kind.OUTCOME, off, **EVERYTHING)) == {"all", "pipeline", "team", "rep"}


# ------------------------------------------------------------------ measures

E = currency_code("EUR")


@pytest.mark.parametrize(
    ("kind", "a", "b", "cell"),
    [
        (Kind.LEAD, None, None, {(Measure.NEW_LEADS, 0): 1}),
        (Kind.COHORT, True, False, {(Measure.CREATED, 0): 1, (Measure.CREATED_WON, 0): 1}),
        (Kind.COHORT, False, False, {(Measure.CREATED, 0): 1}),
        (Kind.RESPONSE, None, None, {(Measure.ASKED, 0): 1}),
        (
            Kind.RESPONSE, 7_200_000, 3_600_000,
            {
                (Measure.ASKED, 0): 1, (Measure.ANSWERED, 0): 1, (Measure.WITHIN_SLA, 0): 1,
                (Measure.RESPONSE_MS, 0): 7_200_000, (Measure.RESPONSE, bucket(7_200_000)): 1,
                (Measure.BUSINESS_MS, 0): 3_600_000, (Measure.BUSINESS, bucket(3_600_000)): 1,
            },
        ),
        (Kind.OUTCOME, True, None, {(Measure.WON, 0): 1}),
        (Kind.OUTCOME, False, None, {(Measure.LOST, 0): 1}),
        (
            Kind.CYCLE, False, 5,
            {(Measure.CLOSED_CYCLES, 0): 1, (Measure.CLOSED_CYCLE_MS, 0): 5, (Measure.CLOSED_CYCLE, bucket(5)): 1},
        ),
        (Kind.MONEY, E, -700, {(Measure.REVENUE, E): -700, (Measure.REVENUE_DEALS, E): 1}),
        (Kind.MONEY, E, 0, {(Measure.REVENUE_DEALS, E): 1}),
        (Kind.TALK, 61_500, None, {(Measure.TALK_MS, 0): 61_500, (Measure.TALKS, 0): 1}),
    ],
    ids=[
        "lead", "won", "not-won", "waiting", "answered-at-the-sla", "win", "loss", "lost-cycle", "refund", "free", "talk",
    ],
)  # fmt: skip
def test_the_integers_of_a_fact(kind, a, b, cell):
    """In the cell of `all` in the pane of its instant."""
    found = expand([(fact(kind, a=a, b=b), 1)], TERMS, 0)[("all",)]
    assert found == {pane(FINE, FINE_NOON): {measure << 16 | sub: amount for (measure, sub), amount in cell.items()}}


def test_the_sla_is_kept_to_the_millisecond():
    """One hour is within it, a millisecond more is not."""
    late = expand([(fact(Kind.RESPONSE, a=0, b=3_600_001), 1)], TERMS, 0)[("all",)][pane(FINE, FINE_NOON)]
    assert Measure.WITHIN_SLA << 16 not in late


@pytest.mark.parametrize(
    ("call", "outbound", "connected"),
    [
        (act("a", "2024-03-01 12:00"), 1, 0),
        (act("a", "2024-03-01 12:00", outcome="connected"), 1, 1),
        (act("a", "2024-03-01 12:00", direction="outbound", outcome="no_answer"), 1, 0),
        (act("a", "2024-03-01 12:00", direction="inbound", outcome="connected"), 0, 0),
        (act("a", "2024-03-01 12:00", direction="internal", outcome="connected"), 0, 0),
        (act("a", "2024-03-01 12:00", "email", outcome="connected"), 0, 0),
    ],
    ids=["unsaid", "connected", "no-answer", "inbound", "internal", "email"],
)
def test_calls_that_go_out_and_those_that_connect(call, outbound, connected):
    """A call without a direction went out."""
    cell = expand(timeless(take(deal_of(), call)).items(), TERMS, 0)[("all",)][pane(FINE, FINE_NOON)]
    assert (cell.get(Measure.OUTBOUND_CALLS << 16, 0), cell.get(Measure.CONNECTED_CALLS << 16, 0)) == (outbound, connected)


# ------------------------------------------------------------------ panes


@pytest.mark.parametrize(
    ("finest", "place"),
    [
        (FINE_NOON, pane(FINE, FINE_NOON)),
        (FINE_NOON + 1, pane(DAY, TERMS.calendar.day_of(NOON))),
    ],
    ids=["recent", "old"],
)
def test_what_is_older_than_the_finest_pane_goes_to_its_day(finest, place):
    """`finest` itself is still fine."""
    assert set(expand([(fact(Kind.LEAD), 1)], TERMS, finest)[("all",)]) == {place}


def test_old_panes_of_one_day_add_up():
    """Two that go to their day are two on that day."""
    found = expand([(fact(Kind.LEAD), 1), (fact(Kind.LEAD, FINE_NOON + 1), 1)], TERMS, FINE_NOON + 2)
    assert found[("all",)] == {pane(DAY, TERMS.calendar.day_of(NOON)): {Measure.NEW_LEADS << 16: 2}}


def test_facts_add_up_before_they_are_written():
    """Three and minus one are two; a count of 0 makes no cell at all."""
    found = expand([(fact(Kind.LEAD), 3), (fact(Kind.LEAD, rep="anna"), -1), (fact(Kind.OUTCOME, a=True), 0)], TERMS, 0)
    assert found[("all",)] == {pane(FINE, FINE_NOON): {Measure.NEW_LEADS << 16: 2}}
    assert found[("rep", "anna")] == {pane(FINE, FINE_NOON): {Measure.NEW_LEADS << 16: -1}}


KNOWN = st.fixed_dictionaries(
    {},
    optional={
        "stage": st.sampled_from(["New", "Won"]), "pipeline": st.sampled_from(["default", "renewals"]),
        "rep": st.sampled_from(["anna", "borys", "cleo", "stranger"]), "product": st.sampled_from(["P1", "P2"]),
        "region": st.just("EU"), "lead_source": st.just("web"), "customer": st.sampled_from(["c1", "c2"]),
    },
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(st.sampled_from(list(Kind)), st.integers(FINE_NOON - 2, FINE_NOON + 1), KNOWN, st.integers(-1, 2)), max_size=12
)


ONLY = {cut: Terms(settings(cuts=[cut])) for cut in {*TERMS.cuts[Kind.MONEY], *TERMS.cuts[Kind.ENTER]}}


@trying(max_examples=60, deadline=None)
@given(changes=CHANGES, cuts=st.sets(st.sampled_from(sorted(ONLY)), min_size=1))
def test_together_facts_make_what_each_makes_alone_in_each_cut_alone(changes, cuts):
    """A coarser cut is added up from a finer one, whatever cuts there are: nobody is lost, and nobody counted twice."""
    told = [(fact(kind, when, *NUMBERS.get(kind, (None, None)), **known), count) for kind, when, known, count in changes]
    alone = [expand([one], ONLY[cut], FINE_NOON) for cut in cuts for one in told]
    assert added_up(expand(told, Terms(settings(cuts=sorted(cuts))), FINE_NOON)) == added_up(*alone)


def test_what_was_taken_is_not_taken_again():
    """The next flush tells what came since."""
    sums = Sums(TERMS)
    sums.add([(fact(Kind.LEAD), 1)])
    assert sums.take(0)
    assert sums.take(0) == {}


def added_up(*found):
    total = defaultdict(int)
    for cells in found:
        for entity, panes in cells.items():
            for place, cell in panes.items():
                for key, amount in cell.items():
                    total[entity, place, key] += amount
    return {one: amount for one, amount in total.items() if amount}


def test_levels_go_to_the_day_of_the_change():
    """Not to the pane of an instant: they say how it is."""
    changes = take(deal_of(), change("1", "2024-03-01 12:00", "New"))
    day = TERMS.calendar.day_of(NOON)
    found = expand([one for one in changes if one[0][0] is Kind.LEVEL], TERMS, 0)[("all",)]
    assert found == {pane(LEVEL, day): {Measure.ACTIVE << 16: 1, Measure.LEADS << 16: 1}}


def test_who_waits_is_kept_by_the_instant_of_creation():
    """In the level, and in the row of its five minutes with the µs as key: so the oldest is found without a search."""
    changes = take(deal_of(), change("1", "2024-03-01 12:00", "New"))
    found = expand([one for one in changes if one[0][0] is Kind.WAIT], TERMS, 0)[("all",)]
    assert found[pane(WAIT, FINE_NOON)] == {NOON: 1}
    assert found[pane(LEVEL, TERMS.calendar.day_of(NOON))] == {Measure.WAITING << 16: 1}


def test_an_amount_of_fifteen_digits_in_a_currency_of_four_fits_a_delta():
    """-999999999999999 CLF is an accepted amount, and less than -2^63 in minor units."""
    from streams.panes.delta import encode

    changes = take(deal_of(), change("1", "2024-03-01 12:00", "Won", amount="-999999999999999", currency="CLF"))
    assert encode({}, 0, list(expand(changes, TERMS, 0).items()))
