"""How do tests get three Apache Kafka brokers whose deaths matter?  One JVM each, KRaft, every topic kept three times.

Every broker is a controller too: with two of three down nothing is decided until one comes back.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from apache import format_disk, start_broker
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.kafka.embedded import end_process

COUNT = 3
# Below the ports that the kernel gives to clients: one that connects to a dead broker again and again could
# otherwise be given its port, and keep it.
PORTS = range(20_000, 32_000)
HEAP = "400m"
UP_DEADLINE = 90.0
COORDINATORS = {"group": "__consumer_offsets", "transactions": "__transaction_state"}

# One partition each of offsets and transactions: then who coordinates is who leads it.
PROPERTIES = """
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={directory}/data
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
offsets.topic.replication.factor=3
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
controlled.shutdown.enable=true
num.io.threads=4
num.network.threads=2
"""


@dataclass
class Broker:
    """One of the brokers; its disk outlives its process."""

    number: int
    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, on the disk that it left."""
        self.process = start_broker(self.directory, HEAP)

    def kill(self) -> None:
        """End it as a power cut would, but for what its system holds for the disk."""
        self._signal(signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        """End it in order: it hands over what it leads.  A broker that does not end is a failure of the test."""
        self._signal(signal.SIGTERM)
        self.process.wait(60)

    def freeze(self) -> None:
        """Let it stand still; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.runs:
            self.thaw()
            self._signal(signal.SIGKILL)
            end_process(self.process, 5.0)
            self.process.wait(10)


@dataclass
class Cluster:
    """Three brokers."""

    brokers: list[Broker] = field(default_factory=list)

    @property
    def url(self) -> str:
        return "kafka://" + ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def leader(self, topic: str, partition: int = 0) -> Broker:
        """Return who leads a partition."""
        number = self._look(topic)[topic].partitions[partition].leader
        return next(broker for broker in self.brokers if broker.number == number)

    def coordinator(self, of: str) -> Broker:
        """Return who coordinates the group, or transactions."""
        return self.leader(COORDINATORS[of])

    def _look(self, topic: str | None = None) -> dict:
        alive = ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers if broker.runs)
        admin = AdminClient({"bootstrap.servers": alive, "log_level": 0, "socket.timeout.ms": 5000})
        return admin.list_topics(topic, timeout=10.0).topics

    def wait_until_whole(self) -> None:
        """Wait until every partition has a leader and all its copies are in sync."""
        end = time.monotonic() + UP_DEADLINE
        seen = "nothing"
        while time.monotonic() < end:
            with contextlib.suppress(KafkaException):
                parts = [(name, one) for name, topic in self._look().items() for one in topic.partitions.values()]
                short = [f"{name}[{one.id}]" for name, one in parts if one.leader < 0 or len(one.isrs) < len(one.replicas)]
                if not short and self._all_are_there():
                    return
                seen = ", ".join(short[:5])
            time.sleep(0.3)
        raise RuntimeError(f"the cluster is not whole after {UP_DEADLINE:.0f} s: {seen}")

    def _all_are_there(self) -> bool:
        for broker in self.brokers:
            admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{broker.port}", "log_level": 0, "socket.timeout.ms": 3000})
            if len(admin.list_topics(timeout=3.0).brokers) < COUNT:
                return False
        return True


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, which stay ours while their brokers are dead."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


@contextlib.contextmanager
def three_brokers(directory: Path) -> Iterator[Cluster]:
    """Run three brokers for the length of the block."""
    free = _free_ports(2 * COUNT)
    ports = list(zip(free[:COUNT], free[COUNT:], strict=True))
    voters = ",".join(f"{number}@127.0.0.1:{controller}" for number, (_, controller) in enumerate(ports, 1))
    cluster = Cluster()
    for number, (port, controller) in enumerate(ports, 1):
        home = directory / f"broker-{number}"
        home.mkdir()
        said = PROPERTIES.format(number=number, voters=voters, port=port, controller=controller, directory=home)
        (home / "server.properties").write_text(said)
        cluster.brokers.append(Broker(number, port, home))
    with ThreadPoolExecutor(COUNT) as pool:
        list(pool.map(lambda broker: format_disk(broker.directory, HEAP), cluster.brokers))
    try:
        for broker in cluster.brokers:
            broker.start()
        cluster.wait_until_whole()
        yield cluster
    finally:
        for broker in cluster.brokers:
            broker.end()
