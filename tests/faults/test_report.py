"""Does docs/reliability.md say what the reports say?"""

from __future__ import annotations

import pytest

from tests.faults.wide import report

pytestmark = pytest.mark.faults


def test_the_table_is_that_of_the_reports():
    """After new reports: python -m tests.faults.wide.report."""
    page = report.PAGE.read_text(encoding="utf-8")
    assert page.count(report.BEGIN) == page.count(report.END) == 1
    assert report.with_summary(page) == page
    assert page.count("](../bench/reports/") > 20
