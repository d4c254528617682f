"""Do the fault tests read their feeds without the product's help, and do they notice when the product reads otherwise?"""

from __future__ import annotations

import pytest

from streams.config import definitions_from
from streams.topics import KPI_HISTORY, KPI_LATEST
from tests.faults import decoder
from tests.faults import load as narrow
from tests.faults.wide import load
from tests.faults.wide.world import Record, recomputed

NOW = 1_800_000_000_000
DEFINITIONS = definitions_from(load.definitions())


@pytest.mark.parametrize("feed", [load, narrow], ids=["wide", "narrow"])
def test_the_product_reads_what_is_said(feed):
    """Every event of the feeds, and nothing that they call bad."""
    rows = [(one.topic, one.key, one.value, NOW) for one in feed.records(5_000, 7)]
    assert decoder.newest_of(rows, DEFINITIONS) == max(event.at for row in rows if (event := decoder.read(*row[:3])))


def test_labels_of_the_feed_say_which_are_bad():
    """A record is refused if and only if the feed says why."""
    assert all((decoder.read(*one[:3]) is None) == (one.reason is not None) for one in load.records(5_000, 7))


def test_a_product_that_reads_otherwise_is_noticed(monkeypatch):
    """One hour too late, as if an offset were read with the wrong sign."""
    decode = decoder.decode_stage_change

    def wrong(*record):
        event = decode(*record)
        if hasattr(event, "at"):
            event.at += 3_600_000_000
        return event

    monkeypatch.setattr(decoder, "decode_stage_change", wrong)
    with pytest.raises(AssertionError):
        decoder.newest_of([(one.topic, one.key, one.value, NOW) for one in load.records(50, 7)], DEFINITIONS)


def test_records_that_stand_still_are_noticed():
    """Nothing was told although events came."""
    sent = next(one for one in load.records(50, 7) if one.reason is None)
    stand = {(sent.topic, 0): [Record((sent.topic, 0), 0, sent.key, sent.value, NOW)]}
    found = recomputed(DEFINITIONS, stand, {KPI_LATEST: {}, KPI_HISTORY: {}})
    assert found["examples"][0]["field"] == "watermark"
