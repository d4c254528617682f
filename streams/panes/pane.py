"""What is a pane?  One fixed interval of one grain, as one integer: index << 3 | grain.

FINE, DAY and MONTH are intervals of time, LIFE is all of it.  LEVEL panes hold how levels changed on a
day; index 0 is the sum of all days that are closed.  WAIT panes hold who still waits, by the fine pane
of creation: {created in µs: deals}.  Whom such a row has no room for, as in an import, stands in a CROWD pane, by the second.
"""

from __future__ import annotations

FINE, DAY, MONTH, LIFE, LEVEL, WAIT, CROWD = range(7)
GRAIN = 7  # the bits that say which

CROWD_US = 1_000_000

# Days and weeks that began longer ago are never corrected.
DAYS_CORRECTED = 400
# Kept behind the watermark.  The window before `24h` reaches back 48 h; the week before one that may be corrected, another 7 days,
# and one more by date where a zone left a day out, as Apia did in 2011.
FINE_KEPT = 50 * 12
DAYS_KEPT = DAYS_CORRECTED + 8
# A fact this far behind its partition's watermark is sent by day: no reader that is current can need it finer.
FINE_SENT = 72 * 12


def pane(grain: int, index: int) -> int:
    """Return the pane of a grain and index."""
    return index << 3 | grain
