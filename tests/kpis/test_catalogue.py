"""Is the catalogue whole, and does its page say the same?"""

from __future__ import annotations

from pathlib import Path

from streams.config import CUTS
from streams.deals.terms import READ_BY
from streams.kpis.catalogue import CATALOGUE, ENTITY_FIELDS
from streams.kpis.formulas import FORMULAS, OLDEST_WAITING

PAGE = Path(__file__).parents[2] / "docs" / "kpis.md"


def test_every_kpi_has_a_formula():
    """The oldest lead that waits is not made of integers alone, and has a rule of its own."""
    assert {kpi.id for kpi in CATALOGUE} == {*FORMULAS, OLDEST_WAITING}


def test_every_kpi_is_read_from_facts():
    """A KPI that no fact feeds would always be nothing."""
    assert {name for names in READ_BY.values() for name in names} == {kpi.id for kpi in CATALOGUE}


def test_every_cut_has_its_entity_fields():
    """In the order of the record key."""
    assert tuple(ENTITY_FIELDS) == CUTS


def test_the_page_has_a_row_for_every_kpi():
    """Id, names, formula and cuts, to the letter."""
    page = PAGE.read_text(encoding="utf-8")
    missing = [
        kpi.id
        for kpi in CATALOGUE
        if f"| `{kpi.id}` | {kpi.en} / {kpi.ru} / {kpi.uk} | {kpi.base} | {kpi.unit} |" not in page
        or f"| {kpi.formula} | {kpi.meaning} | {' '.join(kpi.cuts)} |" not in page
    ]
    assert missing == []
