"""Is the embedded broker there for as long as its owner, and not a moment longer?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.environment import Environment, bootstrap
from streams.kafka.embedded import SecondWorkerError, claim_for_one_worker, embedded_broker
from tests.processes import gone_within, is_alive

OWNER = """
import time
from streams.kafka.embedded import embedded_broker
with embedded_broker() as broker:
    print(broker.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.timed
def test_it_ends_with_the_block():
    """Nothing is left running."""
    with embedded_broker() as broker:
        assert is_alive(broker.pid)
    assert gone_within(1, broker.pid)


@pytest.mark.timed
def test_it_does_not_wait_for_who_is_still_connected():
    """It has nothing to lose."""
    with embedded_broker() as broker:
        client = Producer({"bootstrap.servers": bootstrap(Environment(broker=broker.url)), "log_level": 0})
        client.produce("any", b"")
        assert not client.flush(10)
        began = time.monotonic()
    assert time.monotonic() - began < 1


@pytest.mark.timed
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_owner(blow):
    """Even one that is killed takes its broker along."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with owner:
        pid = int(owner.stdout.readline())
        owner.send_signal(blow)
    assert gone_within(3, pid)


def test_it_needs_no_home(tmp_path, monkeypatch):
    """Nothing is written there, and there may be none: the user of a container has a home that does not exist."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "none"))
    with embedded_broker() as broker:
        assert is_alive(broker.pid)


def test_two_brokers_do_not_meet():
    """Each takes a port of its own."""
    with embedded_broker() as one, embedded_broker() as other:
        assert one.url != other.url


def test_one_claim_at_a_time():
    """The second worker of an app is refused until the first has ended."""
    claim = claim_for_one_worker("127.0.0.1:1", f"claim-{os.getpid()}")
    with pytest.raises(SecondWorkerError, match="serves one worker"):
        claim_for_one_worker("127.0.0.1:1", f"claim-{os.getpid()}")
    os.close(claim)
    os.close(claim_for_one_worker("127.0.0.1:1", f"claim-{os.getpid()}"))
