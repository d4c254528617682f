"""How do curves become a picture?  Panels of stacked areas with one scale, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDE, HIGH, GAP, LEFT, TOP, COLUMNS = 250, 150, 46, 40, 78, 3
COLOURS = ("#3b6ea5", "#8db4d9", "#d98f3b", "#f2cf9b")
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Panel(NamedTuple):
    """One axis: what its places are called, and at each the parts of the cost from the bottom up."""

    title: str
    labels: Sequence[str]
    parts: Sequence[Sequence[float]]


def small_multiples(title: str, names: Sequence[str], panels: Sequence[Panel]) -> str:
    """Return the picture."""
    most = max(sum(parts) for panel in panels for parts in panel.parts) * 1.08
    rows = -(-len(panels) // COLUMNS)
    wide, high = LEFT + COLUMNS * (WIDE + GAP), TOP + rows * (HIGH + 2 * GAP)
    drawn = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
            'font-family="sans-serif" font-size="12" fill="#333">'
        ),
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
        _text(LEFT, 24, title, "start", 16),
    ]
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        drawn.append(f'<rect x="{LEFT + 130 * place}" y="36" width="12" height="12" fill="{colour}"/>')
        drawn.append(_text(LEFT + 130 * place + 17, 46, name, "start"))
    for place, panel in enumerate(panels):
        x, y = LEFT + place % COLUMNS * (WIDE + GAP), TOP + place // COLUMNS * (HIGH + 2 * GAP)
        drawn += _panel(panel, x, y, most)
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _panel(panel: Panel, x: int, y: int, most: float) -> list[str]:
    step = next(one for one in _STEPS if most / one <= 6)
    drawn = [_text(x, y - 6, panel.title, "start", 13)]
    for tick in range(0, int(most) + 1, step):
        at = y + HIGH * (1 - tick / most)
        drawn.append(f'<line x1="{x}" x2="{x + WIDE}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        drawn.append(_text(x - 5, at + 4, str(tick), "end", 10))
    places = [x + WIDE * (number + 0.5) / len(panel.labels) for number in range(len(panel.labels))]
    sums = [[0.0, *accumulate(parts)] for parts in panel.parts]
    for part, colour in enumerate(COLOURS):
        above = [(at, y + HIGH * (1 - one[part + 1] / most)) for at, one in zip(places, sums, strict=True)]
        below = [(at, y + HIGH * (1 - one[part] / most)) for at, one in zip(places, sums, strict=True)]
        shape = " ".join(f"{at:.1f},{height:.1f}" for at, height in [*above, *reversed(below)])
        drawn.append(f'<polygon points="{shape}" fill="{colour}"/>')
    for at, label, one in zip(places, panel.labels, sums, strict=True):
        drawn.append(_text(at, y + HIGH + 16, label, "middle", 10))
        drawn.append(_text(at, y + HIGH * (1 - one[-1] / most) - 4, f"{one[-1]:.1f}", "middle", 10))
    return drawn


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
