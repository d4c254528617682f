"""Is a duration that was put into a bucket still right to 1 %?"""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.panes.histogram import bucket, middle, quantile

YEARS_30 = 30 * 366 * 86_400_000


@settings(max_examples=250, deadline=None)
@given(most=st.integers(1, YEARS_30), halved=st.integers(0, 40))
def test_a_bucket_stands_for_its_values_within_one_percent(most, halved):
    """From a millisecond to thirty years."""
    milliseconds = max(1, most >> halved)
    assert abs(middle(bucket(milliseconds)) - milliseconds) <= 0.01 * milliseconds


def test_every_small_value_is_within_one_percent():
    """Each of the first 100,000 milliseconds."""
    worst = max(abs(middle(bucket(one)) - one) / one for one in range(1, 100_001))
    assert worst <= 0.01


def test_nothing_is_exactly_nothing():
    """Zero has a bucket of its own."""
    assert (bucket(0), middle(0)) == (0, 0.0)
    assert bucket(1) > 0


@given(one=st.integers(0, YEARS_30), other=st.integers(0, YEARS_30))
def test_a_longer_duration_is_in_no_lower_bucket(one, other):
    """So ranks of buckets are ranks of durations."""
    assert (bucket(one) <= bucket(other)) or one > other


def test_buckets_fit_the_key_of_a_cell():
    """16 bits hold the bucket."""
    assert bucket(YEARS_30) < 2_000


@settings(max_examples=100, deadline=None)
@given(durations=st.lists(st.integers(0, YEARS_30), min_size=1, max_size=60), share=st.sampled_from(["0.5", "0.9"]))
def test_a_quantile_is_the_one_at_nearest_rank_within_one_percent(durations, share):
    """The value at rank ceil(share * n) of the sorted durations."""
    counts: dict[int, int] = {}
    for one in durations:
        counts[bucket(one)] = counts.get(bucket(one), 0) + 1
    exact = sorted(durations)[ceil(Fraction(share) * len(durations)) - 1]
    assert abs(quantile(sorted(counts.items()), len(durations), float(share)) - exact) <= 0.01 * exact


@pytest.mark.parametrize(
    ("counts", "share", "index"),
    [
        ([(0, 1)], 0.5, 0),
        ([(0, 1), (9, 1)], 0.5, 0),
        ([(0, 1), (9, 2)], 0.5, 9),
        ([(5, 9), (9, 1)], 0.9, 5),
        ([(5, 10), (9, 1)], 0.9, 5),
        ([(5, 9), (9, 2)], 0.9, 9),
    ],
    ids=["one", "two", "three", "the-ninth-of-ten", "the-tenth-of-eleven", "the-tenth-is-the-next"],
)
def test_nearest_rank(counts, share, index):
    """The rank is ceil(share * n), counted from 1."""
    assert quantile(counts, sum(count for _, count in counts), share) == middle(index)


@pytest.mark.parametrize(("share", "exact"), [(0.5, Fraction(1, 2)), (0.9, Fraction(9, 10))])
def test_a_rank_is_not_one_off_because_of_a_float(share, exact):
    """0.9 is no binary number; up to 100,000 durations the rank is right all the same."""
    assert [n for n in range(1, 100_001) if ceil(share * n) != ceil(exact * n)] == []


def test_a_cell_with_fewer_counts_than_n_is_an_error():
    """A count that does not match its histogram is a mistake in the program."""
    with pytest.raises(ValueError, match="fewer counts"):
        quantile([(3, 1)], 2, 0.9)
