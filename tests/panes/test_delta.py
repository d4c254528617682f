"""Does what changed arrive as it was sent, and do changes add up in any order?"""

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.panes import cell as cells
from streams.panes.cell import Measure, currency_code, currency_name
from streams.panes.delta import MAX_BYTES, Progress, decode, decode_entity, encode, partition_of
from streams.panes.pane import DAY, pane

PROGRESS = {0: Progress(5, True, False), 11: Progress(-1, False, True)}
KEYS = st.builds(lambda kind, sub: kind << 16 | sub, st.sampled_from(Measure), st.integers(0, 0xFFFF))
CELLS = st.dictionaries(KEYS, st.integers(-(10**12), 10**12), max_size=4)
PANES = st.dictionaries(st.integers(0, 1 << 40), CELLS, max_size=4)
ENTITIES = st.lists(st.tuples(st.lists(st.text(max_size=5), min_size=1, max_size=4).map(tuple), PANES), max_size=6)


def read(records):
    return [(one.entity, one.panes) for data in records for one in map(decode_entity, decode(data).entities)]


@settings(max_examples=60, deadline=None)
@given(entities=ENTITIES)
def test_what_changed_arrives_as_it_was_sent(entities):
    """Entities in their order, with every pane and measure; how far time is, in each record."""
    records = encode(PROGRESS, 17, entities)
    assert read(records) == entities
    assert all(decode(one).progress == PROGRESS and decode(one).born == 17 for one in records)


def test_progress_is_told_without_changes_too():
    """Time alone is news."""
    records = encode(PROGRESS, 0, [])
    assert [decode(one).progress for one in records] == [PROGRESS]


def big(count, panes=40):
    """Return so many entities of about a kilobyte and a half each."""
    measures = {Measure.REVENUE << 16 | sub: 10**12 + sub for sub in range(3)}
    return [(("rep", f"rep-{n}"), {pane(DAY, 738_000 + at): measures for at in range(panes)}) for n in range(count)]


def test_many_changes_are_cut_into_records_under_the_limit():
    """Nothing is lost, nothing is there twice."""
    entities = big(800)
    records = encode(PROGRESS, 1, entities)
    assert len(records) > 1
    assert max(map(len, records)) <= MAX_BYTES + 100  # progress and the frame
    assert read(records) == entities


def test_one_entity_with_many_panes_is_cut_too():
    """Twenty years of days, brought by one flush of a replay: above 512 KiB the worker refuses to send and stops."""
    records = encode(PROGRESS, 1, big(1, panes=20_000))
    assert max(map(len, records)) <= MAX_BYTES + 100


def test_one_entity_with_large_panes_is_cut_too():
    """A year of days with histograms, from one flush of a first run over history; or one pane in which sixty thousand wait."""
    measures = {Measure.RESPONSE << 16 | sub: 10**6 + sub for sub in range(900)}
    panes = {pane(DAY, 738_000 + at): measures for at in range(400)}
    records = encode(PROGRESS, 1, [(("all",), panes)])
    assert len(records) > 4
    assert max(map(len, records)) <= MAX_BYTES + 100
    pieces = [piece for entity, piece in read(records) if entity == ("all",)]
    assert ({place: cell for piece in pieces for place, cell in piece.items()}, sum(map(len, pieces))) == (panes, len(panes))
    alone = {Measure.RESPONSE << 16 | sub: 10**6 + sub for sub in range(60_000)}
    records = encode(PROGRESS, 1, [(("all",), {pane(DAY, 738_000): alone})])
    assert max(map(len, records)) <= MAX_BYTES + 100
    total: dict[int, int] = {}
    for _, panes in read(records):
        cells.add(total, panes[pane(DAY, 738_000)])
    assert total == alone


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(CELLS, max_size=8), seed=st.integers(0, 1 << 30))
def test_changes_give_the_same_cell_in_any_order(changes, seed):
    """Integers are added, and what comes to zero is gone."""
    shuffled = changes[:]
    random.Random(seed).shuffle(shuffled)
    totals = [{}, {}]
    for total, order in zip(totals, (changes, shuffled), strict=True):
        for one in order:
            cells.add(total, one)
    assert totals[0] == totals[1]
    assert 0 not in totals[0].values()


@given(one=CELLS, other=CELLS)
def test_what_is_taken_away_again_leaves_nothing(one, other):
    """Adding and subtracting the same change is as if it had never been."""
    total = {key: value for key, value in one.items() if value}
    before = dict(total)
    cells.add(total, other)
    cells.add(total, other, -1)
    assert total == before


@given(cell=CELLS)
@example(cell={1: 2**63, 2: -(2**63) - 1, 3: 2**63 - 1, 4: -(2**63), 5: 1, 6: -(10**30)})
def test_a_cell_is_read_back_as_it_was_written(cell):
    """As a row of the state."""
    assert cells.unpack(cells.pack(cell)) == cell


def test_the_kinds_of_a_cell_as_a_mask():
    """One bit a kind, however many subs it has."""
    cell = {Measure.WON << 16: 1, Measure.REVENUE << 16 | 3: 5, Measure.REVENUE << 16 | 9: 5}
    assert cells.kinds(cell) == 1 << Measure.WON | 1 << Measure.REVENUE


@given(currency=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3))
def test_a_currency_is_a_number_below_16_bits(currency):
    """And back."""
    assert currency_code(currency) < 26**3
    assert currency_name(currency_code(currency)) == currency


def test_an_entity_has_one_owner_and_all_partitions_have_some():
    """The same for every worker and version: a change here moves every entity's state."""
    assert partition_of(("rep", "anna"), 12) == 7
    assert {partition_of(("rep", f"rep-{n}"), 12) for n in range(500)} == set(range(12))


def test_values_do_not_run_into_each_other():
    """("a", "bc") and ("ab", "c") are two entities."""
    many = {partition_of(one, 1024) for one in (("stage", "a", "bc"), ("stage", "ab", "c"), ("stage", "abc", ""))}
    assert len(many) == 3
