"""Is what the curves are measured on what it says?  Deals that were copied go on as those that were made."""

import itertools
from xml.etree import ElementTree as ET

from bench import living, plot
from bench.living import Life, Point, build
from bench.rooms import Rooms, pieces
from streams import topics

POINT = Point(deals=400, reps=20, history=10)


def deals(rooms: Rooms) -> dict[bytes, bytes]:
    return {key: row for table in rooms.tables[: rooms.count] for key, row in table.rows.items() if key[:1] == b"d"}


def test_every_place_holds_a_deal(monkeypatch):
    monkeypatch.setattr(living, "BUILT", 1_000)
    rooms, life = build(POINT)
    held = deals(rooms)
    assert life.kinds == 100
    assert all(b"d" + life.key(place) in held for place in range(POINT.deals))


def test_a_copied_deal_belongs_to_a_customer_of_its_own(monkeypatch):
    monkeypatch.setattr(living, "BUILT", 1_000)
    rooms, life = build(POINT)
    held = deals(rooms)
    for place in range(life.kinds, POINT.deals):
        assert life.customer(place).encode() in held[b"ddeal-%07d" % place]


def test_a_copied_deal_has_the_older_activities_of_its_model(monkeypatch):
    monkeypatch.setattr(living, "BUILT", 1_000)
    rooms, life = build(POINT._replace(deals=40, reps=10, history=100))
    rows = {key: row for table in rooms.tables[: rooms.count] for key, row in table.rows.items()}
    older = [rows.get(b"od" + life.key(place)) for place in range(40)]
    assert life.kinds == 10
    assert older == older[:10] * 4
    assert {len(row or b"") // 24 for row in older} == {32, 64}
    rooms.flush(list(pieces(itertools.islice(life.present(), 500), rooms.count, 0)))


def test_every_event_is_accepted_and_touches_its_deal_alone(monkeypatch):
    monkeypatch.setattr(living, "BUILT", 1_000)
    rooms, life = build(POINT._replace(late=0.2))
    before = set(deals(rooms))
    present = list(itertools.islice(life.present(), 2_000))
    told: list[str] = []
    monkeypatch.setattr(rooms, "_count", lambda outputs: told.extend(output[0] for output in outputs))
    rooms.flush(list(pieces(present, rooms.count, 0)))
    assert topics.DEAD_LETTER not in told
    assert topics.DELTAS in told
    assert set(deals(rooms)) == before | {b"d" + key for _, key, _ in present}


def test_the_same_point_gives_the_same_events():
    once, again = (list(itertools.islice(Life(POINT).past(), 500)) for _ in range(2))
    assert once == again


def test_the_bars_of_a_panel_stand_on_each_other_and_stay_inside():
    panel = plot.Panel("events held < of each deal", ["5", "20"], [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0]])
    root = ET.fromstring(plot.small_multiples("a & b", "µs", ["w", "x", "y", "z"], [panel]))  # noqa: S314  # our own
    bars = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.get("fill") in plot.COLOURS][4:]
    assert len(bars) == 8
    tops = [float(one.get("y", "nan")) for one in bars]
    bottoms = [float(one.get("y", "nan")) + float(one.get("height", "nan")) for one in bars]
    for place in (1, 2, 3, 5, 6, 7):
        assert abs(bottoms[place] - tops[place - 1]) < 0.2
    assert min(tops) > plot.TOP
    assert max(bottoms) <= plot.TOP + plot.HIGH + 0.1
