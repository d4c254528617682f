"""How much business time lies between two instants, worked out by hand."""

import pytest

from streams.audit.business import business_ms
from streams.config import Business
from tests.audit.tables import GAPS, us

KYIV = Business(zone="Europe/Kyiv", hours="Mon-Fri 09:00-18:00", holidays=("2024-03-08",))
MINUTE, HOUR = 60_000, 3_600_000


@pytest.mark.parametrize(
    ("start", "end", "ms"),
    [
        ("2024-03-04 08:00", "2024-03-04 08:30", 30 * MINUTE),  # Monday 10:00 local
        ("2024-03-04 05:00", "2024-03-04 07:30", 30 * MINUTE),  # opens at 07:00 UTC
        ("2024-03-04 15:30", "2024-03-05 07:10", 40 * MINUTE),  # over night
        ("2024-03-02 10:00", "2024-03-03 10:00", 0),  # a weekend
        ("2024-03-07 15:00", "2024-03-11 08:00", 2 * HOUR),  # a holiday on Friday
        ("2024-03-29 15:00", "2024-04-01 07:00", 2 * HOUR),  # summer time: Monday opens at 06:00 UTC
        ("2024-03-04 00:00", "2024-03-11 00:00", 36 * HOUR),  # four days of nine hours
    ],
)
def test_business_time(start, end, ms):
    """Only opening hours on working days count; the clock is the one on the wall."""
    assert business_ms(us(start), us(end), KYIV) == ms


@pytest.mark.parametrize(("zone", "hours", "start", "ms"), GAPS)
def test_hours_that_the_clock_is_put_forward_over_are_not_there(zone, hours, start, ms):
    """Of a day that is not there neither: no business time is longer than the time itself."""
    assert business_ms(us(start), us(start) + 23 * HOUR * 1_000, Business(zone=zone, hours=hours)) == ms


def test_without_hours_all_time_is_business_time():
    """Nothing says when the office is closed."""
    assert business_ms(us("2024-03-02 10:00"), us("2024-03-03 10:00"), Business()) == 24 * HOUR


def test_each_part_of_the_week_has_its_hours():
    """Friday 10:00 to Sunday, with a short Saturday."""
    business = Business(zone="UTC", hours="Mon-Thu 09:00-18:00, Fri 09:00-17:00, Sat 10:00-14:00")
    assert business_ms(us("2024-03-01 10:00"), us("2024-03-03 12:00"), business) == 11 * HOUR


def test_duration_is_floored_to_ms():
    """999 µs are no ms."""
    start = us("2024-03-04 08:00")
    assert business_ms(start, start + 1_999, KYIV) == 1


def test_hours_that_cannot_be_read_are_refused():
    """With the part that is wrong."""
    with pytest.raises(ValueError, match="weekdays"):
        business_ms(0, 1, Business(hours="weekdays 9-5"))
