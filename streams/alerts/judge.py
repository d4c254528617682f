"""What does one more matured pane change?  The state of one alert, a fold over panes in their order.

LEARNING until the baseline stands on enough entries, then INACTIVE, FIRING, and back when the same kind of
test shows that the share has recovered.  A configured baseline needs no learning; another one than before begins
the evidence anew.  No clock: the same panes always give the same alerts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from operator import itemgetter

import msgspec

from streams.alerts import detector
from streams.config import Rule

_LOWEST = 0.005  # of a rise's learned baselines: a share of nothing has no alternatives
LEAST_DAYS = 14  # to learn a baseline from, however many entries they have: no Monday stands for the week
# To learn how much days differ from: thirteen weeks say enough of it, and a share that changes later is another one.
_MOST_DAYS = 91
_OF_BEFORE = 20  # entries that a share stands for of which a row of an earlier version does not say


class Run(msgspec.Struct, array_like=True):
    """The panes since a change to one of the alternatives most likely began: the running sum of CUSUM (Page 1954)."""

    onset: float = 0.0
    n: int = 0
    k: int = 0


class Watch(msgspec.Struct, array_like=True):
    """The state of one alert.  `n` and `k` since the change most likely began.

    While it fires, `fired_share` is that of the `fired_n` entries since it got worse, without those since it most likely recovered.
    """

    day: int = 0  # the last pane taken in
    # How much days differ is learned from them; so was a baseline, from the first of them.
    learned_n: int = 0  # 0 beside a baseline: it was configured
    learned_k: int = 0
    baseline: float | None = None
    firing: bool = False
    since: int = 0
    n: int = 0
    k: int = 0
    evidence: list[float] = []
    fired_share: float = 0.0
    onset: float = 0.0  # of rows of an earlier version, which counted towards one alternative
    revision: int = 0
    fired_n: int = 0
    runs: list[Run] = []  # one for each alternative
    learned_days: int = 0
    learned_squares: float = 0.0  # the sum of k * k / n of each of them


class Pane(msgspec.Struct):
    """A matured pane on the topic: k of n on a day, judged at an instant (event time, µs).

    One of no rule (empty) says that all that is complete at the instant has been judged, and that the worker has caught up.
    """

    rule: str
    entity: list[str]
    day: int
    n: int
    k: int
    at: int


def take(watch: Watch, pane: Pane, rule: Rule) -> bool:
    """Fold a pane into the state, in place; return whether the alert fired or resolved."""
    if pane.day <= watch.day:
        return False
    watch.day = pane.day
    drop = rule.kind == "conversion_drop"
    bad = pane.k if drop else pane.n - pane.k
    _follow(watch, rule)
    if watch.baseline is None:
        _learn(watch, bad, pane.n, rule)
        return False
    base = watch.baseline
    if not can_get_worse(base, rule):
        return False
    null, alternatives = _recovery(watch, base, rule) if watch.firing else (base, _alternatives(base, rule))
    if len(watch.evidence) != len(alternatives):
        watch.evidence = detector.start(alternatives)
    step, dispersion = detector.step_back if watch.firing else detector.step, _dispersion_of(pane.n, watch)
    gains = [detector.likelihood(null, p1, bad, pane.n) / dispersion for p1 in alternatives]
    watch.evidence = [step(one, gain) for one, gain in zip(watch.evidence, gains, strict=True)]
    _count(watch, gains, bad, pane.n)
    if watch.learned_n and watch.learned_days < _MOST_DAYS and not watch.firing:
        _go_on_learning(watch, bad, pane.n)
    if evidence(watch) < threshold(rule) or watch.n < rule.min_events:
        return False
    _turn(watch, pane.at)
    return True


def can_get_worse(baseline: float, rule: Rule) -> bool:
    """Is there anything to judge?  Not where nobody converts, or nearly everybody is answered late, as it is."""
    return baseline > 0 if rule.kind == "conversion_drop" else baseline < detector.HIGHEST


def _count(watch: Watch, gains: Sequence[float], k: int, n: int) -> None:
    """Count what is told: the panes since the change began, if it is one to the alternative that most speaks for.

    Towards one of them only, the counts of a smaller change would begin anew again and again, and never be `min_events`.
    """
    if len(watch.runs) != len(gains):
        watch.runs = [Run(watch.onset, watch.n, watch.k) for _ in gains]
        watch.onset = 0.0
    middle = watch.runs[len(gains) // 2]
    for run, gain in zip(watch.runs, gains, strict=True):
        run.onset += gain
        run.n, run.k = run.n + n, run.k + k
        if run.onset <= 0:
            if run is middle and watch.firing and run.n:
                _stays_bad(watch, run)
            run.onset, run.n, run.k = 0.0, 0, 0
    likeliest = middle if watch.firing else max(zip(watch.evidence, watch.runs, strict=True), key=itemgetter(0))[1]
    watch.n, watch.k = likeliest.n, likeliest.k


def _stays_bad(watch: Watch, run: Run) -> None:
    """Take what was no recovery into the share from which half-way back is measured.

    When an alert fires its share is one that was chosen for being bad, the more so the less has changed: what stays as bad as it is
    would soon look nearer to the baseline.
    """
    before = watch.fired_n or _OF_BEFORE
    watch.fired_n = before + run.n
    watch.fired_share = (watch.fired_share * before + run.k) / watch.fired_n


def evidence(watch: Watch) -> float:
    """Return the evidence as a natural logarithm."""
    return detector.mean(watch.evidence) if watch.evidence else 0.0


def threshold(rule: Rule) -> float:
    """Return what the evidence must reach: one false alarm, or one false end, in a budget of as many days, one pane a day."""
    return log(rule.budget_days)


def _follow(watch: Watch, rule: Rule) -> None:
    """Let the rule's baseline be in force; evidence against another one says nothing about it, and begins anew."""
    was_configured = watch.baseline is not None and not watch.learned_n
    if rule.baseline is None and (watch.firing or not was_configured):
        return  # learned, or being learned; what would be learned while an alert fires is how bad it is
    if watch.baseline != rule.baseline:
        watch.evidence, watch.runs = [], []
        watch.onset, watch.n, watch.k = 0.0, 0, 0
    watch.baseline = rule.baseline
    watch.learned_n = watch.learned_k = watch.learned_days = 0
    watch.learned_squares = 0.0


def _learn(watch: Watch, bad: int, n: int, rule: Rule) -> None:
    """Set the baseline when enough was seen; the pane that completes it is not judged."""
    _add(watch, bad, n)
    if watch.learned_n >= rule.min_entries and watch.learned_days >= LEAST_DAYS:
        share = watch.learned_k / watch.learned_n
        # A learned share is uncertain: one standard error in favour of no alarm keeps the promised budget.
        error = sqrt(share * (1 - share) / watch.learned_n * _dispersion(watch))
        share = share - error if rule.kind == "conversion_drop" else max(_LOWEST, share + error)
        watch.baseline = min(detector.HIGHEST, share)


def _go_on_learning(watch: Watch, bad: int, n: int) -> None:
    """Learn how much days differ from those, too, that are judged: of two weeks with few entries little can be said of it.

    The baseline stays. What is seen while an alert fires is another share, and no difference between days.
    """
    if not watch.learned_days and n:
        watch.learned_n = watch.learned_k = 0  # of a row of an earlier version, which did not count days
    _add(watch, bad, n)


def _add(watch: Watch, bad: int, n: int) -> None:
    watch.learned_n += n
    watch.learned_k += bad
    if n:
        watch.learned_days += 1
        watch.learned_squares += bad * bad / n


def _dispersion(watch: Watch) -> float:
    """Return by how many times the days that were learned from varied more than by chance; 1 where none were."""
    return detector.dispersion(watch.learned_days, watch.learned_n, watch.learned_k, watch.learned_squares)


def _dispersion_of(n: int, watch: Watch) -> float:
    """Return the same of days with n entries: where more come in, more of how a day differs is what its entries have in common."""
    likeness = detector.likeness(watch.learned_days, watch.learned_n, watch.learned_k, watch.learned_squares)
    return 1 + max(0, n - 1) * likeness


def _alternatives(base: float, rule: Rule) -> list[float]:
    return detector.drops(base) if rule.kind == "conversion_drop" else detector.rises(base)


def _recovery(watch: Watch, base: float, rule: Rule) -> tuple[float, list[float]]:
    """Return the share half-way back, and the alternatives between it and the baseline."""
    half = (watch.fired_share + base) / 2
    half = min(half, base * 0.9) if rule.kind == "conversion_drop" else max(half, min(detector.HIGHEST, base * 1.1))
    half = min(detector.HIGHEST, half)
    return half, [half + (base - half) * step for step in (0.5, 0.75, 1.0)]


def _turn(watch: Watch, at: int) -> None:
    watch.fired_share, watch.fired_n = watch.k / watch.n if watch.n else 0.0, watch.n
    watch.firing = not watch.firing
    watch.runs = []
    watch.since = at
    watch.revision += 1
