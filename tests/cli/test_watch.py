"""Does the demo keep the current value of every entity while windows move on?"""

import pytest

from streams.cli.watch import Watch


class NoTopics:
    """Stands in for a consumer that is never read."""

    def list_topics(self, topic, timeout):
        raise NotImplementedError

    def assign(self, places):
        pass


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setattr("streams.cli.watch.partitions", lambda *_: [])
    return Watch(NoTopics(), {})


JUNE, JULY = "2026-06-01T00:00:00+00:00", "2026-07-01T00:00:00+00:00"


def values(watch):
    return [one["value"] for one in watch.records("win_rate", "team", "month")]


def test_the_last_record_of_a_key_counts(watch, kpi):
    """Each value is an upsert."""
    for value in (0.1, 0.2):
        watch.put(*kpi("win_rate", "team", {"team": "West"}, "month", value, start=JUNE))
    assert values(watch) == [0.2]


@pytest.mark.parametrize("tombstone_first", [True, False])
def test_a_window_that_ended_gives_way_to_the_next(watch, kpi, tombstone_first):
    """Whichever of the two records comes first."""
    old, record = kpi("win_rate", "team", {"team": "West"}, "month", 0.1, start=JUNE)
    watch.put(old, record)
    new = kpi("win_rate", "team", {"team": "West"}, "month", 0.2, start=JULY)
    for key, value in [(old, None), new] if tombstone_first else [new, (old, None)]:
        watch.put(key, value)
    assert values(watch) == [0.2]


def test_a_tombstone_without_a_successor_takes_the_entity_away(watch, kpi):
    """There is nothing to show then."""
    key, record = kpi("win_rate", "team", {"team": "West"}, "month", 0.1, start=JUNE)
    watch.put(key, record)
    watch.put(key, None)
    assert values(watch) == []


def test_of_several_currencies_the_one_with_most_deals_is_shown(watch, kpi):
    """The others stay in the topic."""
    watch.put(*kpi("revenue", "pipeline", {"pipeline": "default"}, value=1, unit="money", currency="EUR", n=1))
    watch.put(*kpi("revenue", "pipeline", {"pipeline": "default"}, value=2, unit="money", currency="USD", n=9))
    assert watch.record("revenue", "pipeline", ("default",), "all")["currency"] == "USD"
