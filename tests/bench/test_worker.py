"""Does what is measured of a worker end where it says?"""

from bench.process import Sample
from bench.worker import figures
from streams.topics import DELTAS, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE

SOURCE, DELTA, LATEST, HISTORY = (STAGE_CHANGE, 0), (DELTAS, 0), (KPI_LATEST, 0), (KPI_HISTORY, 0)


def look(at, cpu, source, delta, latest, history):
    """One look at a worker: CPU seconds, what is committed of two topics, and where two others end."""
    return Sample(at, cpu, cpu, {SOURCE: source, DELTA: delta, LATEST: latest, HISTORY: history})


def test_all_kpi_records_are_out_when_the_last_one_is_however_little_it_costs():
    """A last round of a hundredth of a second of CPU, two seconds after all was committed, is part of the work."""
    samples = [
        Sample(0.0, 0.0, 0.0, None),
        look(1.0, 0.9, 40, 0, 0, 0),
        look(5.0, 4.5, 100, 2, 10, 0),
        look(6.0, 5.0, 100, 3, 20, 0),
        look(7.0, 5.0, 100, 3, 20, 0),
        look(8.0, 5.01, 100, 3, 20, 7),
        look(9.0, 5.5, 100, 3, 20, 7),
    ]
    found = figures(samples, {SOURCE: 100}, {DELTA: 2}, 1000)
    assert (found["read_seconds"], found["seconds"], found["rest_seconds"]) == (5.0, 6.0, 8.0)
    assert (round(found["cpu_per_million"]), round(found["rest_cpu_per_million"])) == (5000, 5010)


def test_what_was_told_before_all_was_committed_makes_it_no_shorter():
    samples = [Sample(0.0, 0.0, 0.0, None), look(1.0, 1.0, 90, 2, 20, 7), look(3.0, 2.0, 100, 3, 20, 7)]
    found = figures(samples, {SOURCE: 100}, {DELTA: 2}, 1000)
    assert (found["seconds"], found["rest_seconds"]) == (3.0, 3.0)
