"""Which pane does an instant fall into?  The business calendar, DST-safe.

Instants are µs since 1970 UTC.  A day is the proleptic ordinal of a date in the business zone, a month
is year * 12 + (month - 1), a fine pane is the number of 5-minute intervals since 1970 UTC.  A fine pane
never straddles two days: since 2000 every zone's offset is a multiple of 15 minutes.  (Only where clocks were
set back at 00:01, in Newfoundland, Labrador and New Brunswick until 2010, an autumn day a year does not end with a pane.)
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from streams.config import Spans, parse_hours

FINE_US = 300_000_000
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US  # of 24 hours: a business day may have 23 or 25
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Return an aware datetime as µs since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICRO


class Calendar:
    """Days and months of one zone, with caches that grow with the days touched only."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._day_of_fine: dict[int, int] = {}
        self._start_of_day: dict[int, int] = {}
        self._month_of_day: dict[int, int] = {}

    def day_of_fine(self, fine: int) -> int:
        """Return the business day that holds a fine pane."""
        day = self._day_of_fine.get(fine)
        if day is None:
            if len(self._day_of_fine) > 200_000:
                self._day_of_fine.clear()
            moment = datetime.fromtimestamp(fine * 300, UTC).astimezone(self.zone)
            day = self._day_of_fine[fine] = moment.toordinal()
        return day

    def day_of(self, at: int) -> int:
        """Return the business day of an instant."""
        return self.day_of_fine(at // FINE_US)

    def start_of_day(self, day: int) -> int:
        """Return the first instant of a business day."""
        start = self._start_of_day.get(day)
        if start is None:
            local = date.fromordinal(day)
            # fold=0: where midnight does not exist this is the instant of the jump, where it comes twice the first.
            start = micros(datetime(local.year, local.month, local.day, tzinfo=self.zone).astimezone(UTC))
            self._start_of_day[day] = start
        return start

    def month_of_day(self, day: int) -> int:
        """Return the month of a day."""
        month = self._month_of_day.get(day)
        if month is None:
            local = date.fromordinal(day)
            month = self._month_of_day[day] = local.year * 12 + local.month - 1
        return month

    @staticmethod
    def first_day(month: int) -> int:
        """Return the first day of a month."""
        return date(month // 12, month % 12 + 1, 1).toordinal()

    @staticmethod
    def week_of_day(day: int) -> int:
        """Return the number of the week (Monday to Sunday) of a day; week w begins on day 7 w + 1."""
        return (day - 1) // 7


class BusinessHours:
    """Seconds that count: weekly office hours in the business zone without holidays; None hours = always."""

    def __init__(self, calendar: Calendar, hours: str | None, holidays: tuple[str, ...]) -> None:
        self._calendar = calendar
        self._weekly = parse_hours(hours) if hours else None
        self._holidays = frozenset(date.fromisoformat(one).toordinal() for one in holidays)
        self._open: dict[int, Spans] = {}

    @property
    def always(self) -> bool:
        """Does every second count?"""
        return self._weekly is None

    def between(self, start: int, end: int) -> int:
        """Return the business time in [start, end) in whole ms."""
        if self._weekly is None:
            return (end - start) // 1000
        total = 0
        for day in range(self._calendar.day_of(start), self._calendar.day_of(end) + 1):
            for opens, closes in self._hours_of(day):
                total += max(0, min(end, closes) - max(start, opens))
        return total // 1000

    def _hours_of(self, day: int) -> Spans:
        found = self._open.get(day)
        if found is None:
            found = self._open[day] = self._work_out(day)
        return found

    def _work_out(self, day: int) -> Spans:
        local = date.fromordinal(day)
        spans = () if day in self._holidays else (self._weekly or {}).get(local.weekday(), ())
        return tuple((self._wall(local, opens), self._wall(local, closes)) for opens, closes in spans)

    def _wall(self, local: date, minute: int) -> int:
        if minute == 24 * 60:
            return self._calendar.start_of_day(local.toordinal() + 1)
        zone = self._calendar.zone
        moment = datetime(local.year, local.month, local.day, minute // 60, minute % 60, tzinfo=zone)
        at = moment.astimezone(UTC)
        shown = at.astimezone(zone)
        if shown.replace(tzinfo=None) == moment.replace(tzinfo=None):
            return micros(at)
        # The clock is put forward over this time: what would open or close then does when it is.
        earlier = moment.replace(fold=1).astimezone(UTC)
        seconds = range(int(earlier.timestamp()), int(at.timestamp()) + 1)
        jump = bisect_left(
            seconds, True, key=lambda second: datetime.fromtimestamp(second, zone).utcoffset() == shown.utcoffset()
        )
        return seconds[jump] * 1_000_000
