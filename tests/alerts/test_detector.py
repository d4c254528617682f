"""Is the false-alarm budget kept, and is a drop found as fast as it can be?  Simulated with fixed seeds."""

import random
from math import exp, inf, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts import detector

BASELINE = 0.20
GRID = (0.16, 0.13, 0.10, 0.07, 0.04)
ENTRIES, RUNS = 480, 600


THRESHOLDS = (5_000, 20_000)


def entries_to_alarms(rng, share):
    """Look after every entry of one run; return when each threshold was reached, infinity when never."""
    evidence = detector.start(GRID)
    found = []
    for entry in range(1, ENTRIES + 1):
        k = int(rng.random() < share)
        evidence = [
            detector.step(one, detector.likelihood(BASELINE, p1, k, 1)) for one, p1 in zip(evidence, GRID, strict=True)
        ]
        while detector.mean(evidence) >= log(THRESHOLDS[len(found)]):
            found.append(entry)
            if len(found) == len(THRESHOLDS):
                return found
    return found + [inf] * (len(THRESHOLDS) - len(found))


def runs(share, seed=20240301):
    """Return how many entries the alarms of each threshold took, in order."""
    rng = random.Random(seed)
    return [sorted(found) for found in zip(*(entries_to_alarms(rng, share) for _ in range(RUNS)), strict=True)]


def test_healthy_runs_alarm_as_seldom_as_measured():
    """20 % converted, looked at after each of 480 entries: 6.0 % and 1.4 % of the runs, within two standard errors."""
    for found, measured in zip(runs(BASELINE), (0.060, 0.014), strict=True):
        assert sum(map(isfinite, found)) / RUNS <= measured + 2 * (measured * (1 - measured) / RUNS) ** 0.5


def test_a_drop_to_eight_percent_is_always_found_and_as_fast_as_measured():
    """Within a tenth of the measured entries."""
    for found, median, p90 in zip(runs(0.08), (93, 118), (157, 195), strict=True):
        assert isfinite(found[-1])
        assert (found[RUNS // 2], found[RUNS * 9 // 10]) == (pytest.approx(median, rel=0.1), pytest.approx(p90, rel=0.1))


def smallest_found(baseline, alternative):
    """Return the share at which nothing speaks for either, however many come in; beyond it all does for the alternative."""
    good, bad = (detector.likelihood(baseline, alternative, k, 1) for k in (1, 0))
    return bad / (bad - good)


def test_the_smallest_change_that_is_found_is_what_the_settings_page_says():
    """By a tenth of a drop's baseline, an eighth of a rise's; of those far above a half more, 15 % at most."""
    for percent in range(1, 95):
        baseline = percent / 100
        drop = max(smallest_found(baseline, p1) for p1 in detector.drops(baseline)) / baseline
        rise = min(smallest_found(baseline, p1) for p1 in detector.rises(baseline)) / baseline
        assert drop >= 0.896
        assert rise <= (1.1265 if percent <= 50 else 1.152)
    assert smallest_found(0.76, detector.rises(0.76)[0]) == pytest.approx(0.876, abs=0.001)
    assert smallest_found(0.1, detector.rises(0.1)[0]) == pytest.approx(0.112, abs=0.001)


def test_a_step_is_what_the_formula_says():
    """M <- (M + 1) (p1/p0)^k ((1-p1)/(1-p0))^(n-k), worked out without logarithms."""
    assert exp(detector.step(log(3), detector.likelihood(0.2, 0.1, 2, 7))) == pytest.approx(
        (3 + 1) * 0.5**2 * (0.9 / 0.8) ** 5
    )


@pytest.mark.parametrize(("before", "counts"), [(3, 3), (0.5, 1)], ids=["for it", "against it"])
def test_a_pane_that_merely_passes_is_no_evidence_of_a_recovery(before, counts):
    """M <- max(M, 1) L: what speaks for it is kept, what spoke against it forgotten, and nothing is added."""
    likelihood = 2.0**2 * (0.8 / 0.9) ** 5
    assert exp(detector.step_back(log(before), detector.likelihood(0.1, 0.2, 2, 7))) == pytest.approx(counts * likelihood)


def test_the_evidence_before_the_first_pane_is_nothing():
    """So that the first step is the likelihood alone."""
    assert detector.start(GRID) == [detector.start(GRID)[0]] * len(GRID)
    assert exp(detector.step(detector.start(GRID)[0], detector.likelihood(0.2, 0.1, 0, 1))) == pytest.approx(0.9 / 0.8)


def test_what_is_averaged_is_evidence_and_not_logarithms():
    """Of 1, 2 and 6 it is 3."""
    assert exp(detector.mean([log(1), log(2), log(6)])) == pytest.approx(3)


@given(
    evidence=st.floats(-1e6, 1e6), p0=st.floats(0.005, 0.95), factor=st.floats(0.2, 0.99), n=st.integers(0, 10**6),
    share=st.floats(0, 1),
)  # fmt: skip
def test_logarithms_do_not_overflow(evidence, p0, factor, n, share):
    """A million entries in a pane, evidence beyond every float."""
    after = detector.step(evidence, detector.likelihood(p0, p0 * factor, int(n * share), n))
    assert isfinite(after)
    assert isfinite(detector.mean([after, evidence, -700.0]))


@given(p0=st.floats(0.005, 0.95))
def test_the_alternatives_lie_on_their_side_of_the_baseline(p0):
    """Below it for a drop, above it and below 1 for a rise."""
    assert all(0 < p1 < p0 for p1 in detector.drops(p0))
    assert all(p0 < p1 < 1 for p1 in detector.rises(p0))


def test_nothing_rises_above_nearly_everything():
    """A baseline at the highest alternative has none above it."""
    assert detector.rises(detector.HIGHEST) == []


@pytest.mark.parametrize(
    ("k", "n", "z", "low", "high"),
    [
        (0, 10, 1.959964, 0.0, 0.2775),
        (10, 10, 1.959964, 0.7225, 1.0),
        (5, 10, 1.959964, 0.2366, 0.7634),
        (1, 30, 1.959964, 0.0059, 0.1667),
        (81, 263, 1.959964, 0.2553, 0.3662),
        (0, 0, 1.959964, 0.0, 1.0),
    ],
    ids=["none", "all", "half", "one-of-thirty", "newcombe-1998", "nothing"],
)
def test_wilson_bounds_against_published_values(k, n, z, low, high):
    """81 of 263 is the example of Newcombe, Statistics in Medicine 17 (1998); the others are worked out apart."""
    assert detector.wilson(k, n, z) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(n=st.integers(1, 10**6), share=st.floats(0, 1), z=st.floats(0.1, 5))
def test_wilson_bounds_hold_the_share(n, share, z):
    """Between 0 and 1."""
    k = int(n * share)
    low, high = detector.wilson(k, n, z)
    assert 0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ([], 1.0),
        ([(10, 2)], 1.0),
        ([(10, 0), (10, 0)], 1.0),
        ([(10, 10), (20, 20)], 1.0),
        ([(100, 20), (200, 40), (50, 10)], 1.0),  # less than by chance is no less than that
        ([(100, 10), (100, 30)], 2 * 100 * 0.1**2 / (0.2 * 0.8)),
    ],
    ids=str,
)
def test_dispersion_is_that_of_pearson(days, found):
    """The sum of squared distances from what is expected, in units of its variance, over one less than there are days."""
    n, k, squares = sum(n for n, _ in days), sum(k for _, k in days), sum(k * k / n for n, k in days)
    assert detector.dispersion(len(days), n, k, squares) == pytest.approx(found)


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ([], 0.0),
        ([(10, 2)], 0.0),
        ([(1, 0), (1, 1), (1, 0)], 0.0),  # with one entry a day nothing can be alike
        ([(100, 20), (200, 40), (50, 10)], 0.0),
        ([(10, 0), (10, 10)], 1.0),
        ([(100, 10), (100, 30)], (2 * 100 * 0.1**2 / (0.2 * 0.8) - 1) / 99),
    ],
    ids=str,
)
def test_likeness_is_that_of_williams(days, found):
    """Days of the average size vary by their dispersion more than by chance, larger ones more."""
    n, k, squares = sum(n for n, _ in days), sum(k for _, k in days), sum(k * k / n for n, k in days)
    assert detector.likeness(len(days), n, k, squares) == pytest.approx(found)
