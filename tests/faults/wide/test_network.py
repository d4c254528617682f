"""Does a network that is cut, slow or forgetful between workers and their broker change a number?  Nobody is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import cycle, islice

import pytest
from apache import apache_kafka
from network import Network
from ports import reserved_port

from streams.kafka.clients import SILENT_CONNECTION, TRANSACTION_TIMEOUT
from tests.faults import workers
from tests.faults.wide.crew import CAUGHT_UP, Crew
from tests.faults.wide.dose import SEED, dose, only_heavy, patience
from tests.faults.workers import Worker

pytestmark = patience(240, 900)

RATE = dose("NETWORK_RATE", 150, 300)
# A second listener, whose clients are told to come by way of the network that is harmed.
FAR = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},FAR://127.0.0.1:{far}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},FAR://127.0.0.1:{through}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FAR:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"""
SHORT = workers.SESSION - 2
# The group has given its partitions away, and it has not ended yet when what it has sent meanwhile arrives after all.
JUST_GONE = workers.SESSION + 1
ENDS = (
    workers.SESSION + TRANSACTION_TIMEOUT + 10
)  # at the latest, whoever hears nothing more; a worker that hardly gets any time, too


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Network]]:
    """Return a broker's URL, and the network to its other listener."""
    far, through = reserved_port(), reserved_port()
    with apache_kafka(tmp_path_factory.mktemp("far-broker"), more=FAR.format(far=far, through=through)) as url:
        network = Network(through, far, seed=SEED)
        yield url, network
        network.end()


@pytest.fixture
def two(wired, crew_on) -> Iterator[Crew]:
    """Return workers that may end with 70, or with 1 when no broker answers at their start."""
    crew = crew_on(wired[0], exits=(70, 1))
    yield crew
    wired[1].slow(0.0, 0.0)
    wired[1].mend()


def _far(network: Network) -> dict[str, str]:
    return {"broker": f"kafka://127.0.0.1:{network.port}"}


def _rest(crew: Crew, network: Network, seconds: float, count: int = 2) -> None:
    """Start what ends again, at the far end of the network."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        crew.tend(count, environment=_far(network))
        time.sleep(0.2)


def _near_and_far(crew: Crew, network: Network) -> Worker:
    """Start two workers; return the one at the far end of the network."""
    crew.join()
    far = crew.join(environment=_far(network))
    for worker in crew.living:
        worker.wait_until_ready()
    return far


def _both_far(crew: Crew, network: Network) -> None:
    """Start two workers at the far end of the network."""
    crew.tend(2, environment=_far(network))
    for worker in crew.living:
        worker.wait_until_ready()


def _finish(crew: Crew, network: Network, name: str, question: str) -> None:
    crew.fed_up()
    end = time.monotonic() + CAUGHT_UP
    while len(crew.living) < 2 or not all(worker.metrics() and not worker.lag() for worker in crew.living):
        assert time.monotonic() < end, [worker.last_words() for worker in crew.living]
        _rest(crew, network, 0.5)
    crew.assert_exact()
    crew.report(name, question, exits=dict(crew.exits), last_words=sorted(set(crew.last_words))[:8])


def test_a_worker_that_is_cut_off_and_comes_back_is_fenced(two, wired):
    """One of two; within its session nothing happens, after it the other one goes on, and what it has sent comes to nothing."""
    _, network = wired
    far = _near_and_far(two, network)
    two.feed(dose("NETWORK_EVENTS", 500, 1_000), SEED + 90, RATE)
    for seconds in islice(cycle((JUST_GONE, SHORT, 15.0, 40.0, JUST_GONE)), dose("CUTS", 1, 5)):
        time.sleep(2)
        began = time.monotonic()
        network.cut()
        two.harm(f"cut off for {seconds:.0f} s")
        time.sleep(seconds)
        if seconds > ENDS:  # without a word from outside
            assert far.code == 70, far.last_words()
            assert "the group gave our partitions away" in far.last_words(), far.last_words()
        network.mend()
        if seconds > SHORT:
            assert far.wait(max(1.0, began + ENDS - time.monotonic())) == 70, far.last_words()
            two.tend(2, environment=_far(network))
            far = two.living[-1]
            far.wait_until_ready()
        else:
            time.sleep(2)
            assert far.code is None, far.last_words()
    _finish(two, network, "network-one", "one of two workers is cut off from the broker")


@only_heavy
def test_all_workers_are_cut_off(two, wired):
    """Whoever ends is started again meanwhile, and finds no broker."""
    _, network = wired
    _both_far(two, network)
    two.feed(2_000, SEED + 91, RATE)
    for seconds in (SHORT, 15.0, 40.0)[: dose("CUTS_OF_ALL", 1, 3)]:
        _rest(two, network, 5)
        network.cut()
        two.harm(f"all cut off for {seconds:.0f} s")
        _rest(two, network, seconds)
        network.mend()
        _rest(two, network, 20)
    _finish(two, network, "network-all", "all workers are cut off from the broker")


@only_heavy
def test_a_slow_network_that_breaks_connections(two, wired):
    """200 ms each way, and each second one of twenty connections is reset."""
    _, network = wired
    _both_far(two, network)
    two.feed(2_000, SEED + 92, RATE)
    _rest(two, network, 3)
    network.slow(0.2, 0.05)
    two.harm("slow")
    _rest(two, network, dose("SLOW_SECONDS", 20, 60))
    network.slow(0.0, 0.0)
    _finish(two, network, "network-slow", "a network that takes 200 ms each way and resets connections")


@only_heavy
def test_connections_that_are_forgotten(two, wired):
    """What is sent goes nowhere, and nobody says so; who connects anew is served."""
    _, network = wired
    far = _near_and_far(two, network)
    two.feed(2_000, SEED + 93, RATE)
    for _ in range(dose("FORGOTTEN", 1, 3)):
        time.sleep(3)
        network.forget()
        two.harm("connections forgotten")
        assert far.wait(ENDS) == 70, far.last_words()
        two.tend(2, environment=_far(network))
        far = two.living[-1]
        far.wait_until_ready()
    _finish(two, network, "network-forgotten", "all connections of a worker are forgotten on the way")


@only_heavy
def test_a_connection_for_fetching_that_is_forgotten(two, wired):
    """Heartbeats go on over another one, so nobody is fenced: the client gives it up by itself, and the worker goes on."""
    _, network = wired
    far = two.join(environment=_far(network))
    far.wait_until_ready()
    two.feed(2_000, SEED + 94, RATE)
    for _ in range(dose("FETCHES_FORGOTTEN", 1, 2)):
        time.sleep(8)  # until it is the busiest
        network.forget_the_busiest()
        two.harm("the connection for fetching forgotten")
        time.sleep(SILENT_CONNECTION + 5)
        assert far.code is None, far.last_words()
    assert SILENT_CONNECTION - 5 < two.progress.longest_wait() < SILENT_CONNECTION + 10
    _finish(two, network, "network-fetching", "the connection for fetching is forgotten on the way")
