"""How do curves become a picture?  Panels of stacked bars with one scale, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDE, HIGH, GAP, LEFT, TOP, BELOW, COLUMNS = 260, 150, 50, 44, 92, 70, 3
COLOURS = ("#3b6ea5", "#8db4d9", "#d98f3b", "#f2cf9b")
BAR = 0.55  # of the room that a place has
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Panel(NamedTuple):
    """One axis: what it is, what its places are called, and at each the parts of the cost from the bottom up."""

    title: str
    labels: Sequence[str]
    parts: Sequence[Sequence[float]]


def small_multiples(title: str, unit: str, names: Sequence[str], panels: Sequence[Panel]) -> str:
    """Return the picture; `unit` is what all panels measure upwards."""
    most = max(sum(parts) for panel in panels for parts in panel.parts) * 1.12  # room for the sums above the bars
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    wide, high = max(620, LEFT + columns * (WIDE + GAP)), TOP + rows * (HIGH + BELOW)
    drawn = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
            'font-family="sans-serif" font-size="12" fill="#333">'
        ),
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
        _text(LEFT, 26, title, "start", 16),
    ]
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        drawn.append(f'<rect x="{LEFT + 140 * place}" y="42" width="12" height="12" fill="{colour}"/>')
        drawn.append(_text(LEFT + 140 * place + 17, 52, name, "start"))
    for place, panel in enumerate(panels):
        x, y = LEFT + place % columns * (WIDE + GAP), TOP + place // columns * (HIGH + BELOW)
        drawn += _panel(panel, unit, x, y, most)
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _panel(panel: Panel, unit: str, x: int, y: int, most: float) -> list[str]:
    step = next(one for one in _STEPS if most / one <= 6)
    drawn = [_text(x - 5, y - 6, unit, "end", 10)]
    for tick in range(0, int(most) + 1, step):
        at = y + HIGH * (1 - tick / most)
        drawn.append(f'<line x1="{x}" x2="{x + WIDE}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        drawn.append(_text(x - 5, at + 4, str(tick), "end", 10))
    room = WIDE / len(panel.labels)
    for place, (label, parts) in enumerate(zip(panel.labels, panel.parts, strict=True)):
        middle = x + room * (place + 0.5)
        heights = [y + HIGH * (1 - part / most) for part in accumulate(parts, initial=0.0)]
        for (bottom, top), colour in zip(pairwise(heights), COLOURS, strict=True):
            drawn.append(
                f'<rect x="{middle - room * BAR / 2:.1f}" y="{top:.1f}" width="{room * BAR:.1f}" '
                f'height="{bottom - top:.1f}" fill="{colour}"/>'
            )
        drawn.append(_text(middle, heights[-1] - 4, f"{sum(parts):.1f}", "middle", 10))
        drawn.append(_text(middle, y + HIGH + 15, label, "middle", 10))
    drawn.append(_text(x + WIDE / 2, y + HIGH + 34, panel.title, "middle", 13))
    return drawn


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
