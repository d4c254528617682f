"""Which panes add up to which window?  All windows are [start, end).

A window's number identifies it among those of its name: the day, the week, the month, the quarter
(month // 3), the year; for rolling windows the number of their last pane.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.panes.calendar import FINE_US, Calendar
from streams.panes.pane import DAY, FINE, LIFE, MONTH


class Window(NamedTuple):
    """One name of the contract: the grain it is added up from, and how many panes it holds."""

    name: str
    grain: int
    panes: int
    rolling: bool


WINDOWS: tuple[Window, ...] = (
    Window("1h", FINE, 12, rolling=True),
    Window("24h", FINE, 288, rolling=True),
    Window("7d", DAY, 7, rolling=True),
    Window("28d", DAY, 28, rolling=True),
    Window("90d", DAY, 90, rolling=True),
    Window("day", DAY, 1, rolling=False),
    Window("week", DAY, 7, rolling=False),
    Window("month", MONTH, 1, rolling=False),
    Window("quarter", MONTH, 3, rolling=False),
    Window("year", MONTH, 12, rolling=False),
    Window("all", LIFE, 1, rolling=False),
)


class Now(NamedTuple):
    """The panes that hold the watermark."""

    at: int
    fine: int
    day: int
    month: int


def now_at(calendar: Calendar, watermark: int) -> Now:
    """Return the panes of a watermark in µs."""
    fine = watermark // FINE_US
    day = calendar.day_of_fine(fine)
    return Now(watermark, fine, day, calendar.month_of_day(day))


def number_at(window: Window, now: Now) -> int:
    """Return the number of the window of this name that is current."""
    if window.grain == FINE:
        return now.fine
    if window.grain == DAY:
        return now.day if window.panes == 1 or window.rolling else (now.day - 1) // 7
    if window.grain == MONTH:
        return now.month // window.panes
    return 0


def numbers_at(now: Now) -> tuple[int, ...]:
    """Return the number of the current window of each name."""
    return tuple(number_at(window, now) for window in WINDOWS)


def number_of_day(window: Window, day: int, month: int) -> int:
    """Return the number of the calendar window that holds a day."""
    if window.grain == DAY:
        return day if window.panes == 1 else (day - 1) // 7
    return month // window.panes if window.grain == MONTH else 0


def first_pane(window: Window, number: int) -> int:
    """Return the index of a window's first pane; it holds window.panes of them."""
    if window.rolling:
        return number - window.panes + 1
    if window.grain == DAY and window.panes == 7:
        return number * 7 + 1
    return number * window.panes


def bounds(window: Window, number: int, calendar: Calendar) -> tuple[int, int] | None:
    """Return start and end in µs; None for the window of all time."""
    first = first_pane(window, number)
    last = first + window.panes
    if window.grain == FINE:
        return first * FINE_US, last * FINE_US
    if window.grain == DAY:
        return calendar.start_of_day(first), calendar.start_of_day(last)
    if window.grain == MONTH:
        return calendar.start_of_day(calendar.first_day(first)), calendar.start_of_day(calendar.first_day(last))
    return None
