"""How do tests get an Apache Kafka broker without Docker?  One JVM, KRaft, on free loopback ports."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.children import ending_with_us
from streams.kafka.embedded import end_process
from tests.brokers.ports import reserved_port

HERE = Path(__file__).parent
JARS = HERE / "target" / "jars"
START_DEADLINE = 60.0
HEAP = "512m"

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={directory}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.io.threads=4
num.network.threads=2
"""


class MissingToolsError(Exception):
    """Java, Maven or the jars are not there; the text says which."""


def jars() -> Path:
    """Return the folder of the broker's jars, fetched once, whoever else wants them too.  Raises MissingToolsError."""
    if shutil.which("java") is None:
        raise MissingToolsError("no java on the PATH")
    if _are_there():
        return JARS
    if shutil.which("mvn") is None:
        raise MissingToolsError("no mvn on the PATH to fetch Apache Kafka's jars with")
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _are_there():
            _fetch()
    return JARS


def _are_there() -> bool:
    done = JARS / "complete"
    return done.exists() and done.stat().st_mtime >= (HERE / "pom.xml").stat().st_mtime


def _fetch() -> None:
    fetch = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    fetch += ["-DincludeScope=runtime", f"-DoutputDirectory={JARS}"]
    try:
        subprocess.run(fetch, check=True, timeout=600, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise MissingToolsError(f"mvn cannot fetch Apache Kafka's jars: {error}") from None
    (JARS / "complete").touch()


@contextlib.contextmanager
def apache_kafka(directory: Path, *, steady: bool = False, more: str = "") -> Iterator[str]:
    """Run a broker in `directory` for the length of the block; yields its kafka:// URL.

    `more`: settings, where a test wants other ones; what is said twice counts as it is said last, and {port} and {controller} are put in.
    `steady` is for measurements: as a broker that is there to stay, with the JVM's second compiler too, which costs more at first
    and makes it quicker after a minute (a transaction of 12 partitions: 9.5 ms instead of 13).
    """
    port, controller = reserved_port(), reserved_port()
    settings = (PROPERTIES + more).format(port=port, controller=controller, directory=directory)
    (directory / "server.properties").write_text(settings)
    format_disk(directory)
    process = start_broker(directory, steady=steady)
    try:
        _wait_until_up(process, port, directory / "broker.log")
        yield f"kafka://127.0.0.1:{port}"
    finally:
        # nothing on its disk is wanted again, and an orderly shutdown takes seconds
        process.send_signal(signal.SIGKILL)
        end_process(process, 5.0)
        process.wait(10)


def format_disk(directory: Path, heap: str = HEAP) -> None:
    """Prepare the disk of the broker whose server.properties stand in `directory`."""
    command = [*_java(heap), "kafka.tools.StorageTool", "format", "-t", "dGVzdHRlc3R0ZXN0dGVzdA", "-c", "server.properties"]
    subprocess.run(command, check=True, timeout=60, capture_output=True, cwd=directory)


def start_broker(directory: Path, heap: str = HEAP, *, steady: bool = False) -> subprocess.Popen[bytes]:
    """Start the broker whose server.properties stand in `directory`; it ends with this process at the latest."""
    kafka = [*_java(heap, steady=steady), "kafka.Kafka", "server.properties"]
    with (directory / "broker.log").open("ab") as log:
        return subprocess.Popen(
            ending_with_us(kafka),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            start_new_session=True,
        )


def _java(heap: str, *, steady: bool = False) -> list[str]:
    compilers = [] if steady else ["-XX:TieredStopAtLevel=1"]
    return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", *compilers, "-Xshare:auto", "-cp", f"{jars()}/*"]


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    end = time.monotonic() + START_DEADLINE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(KafkaException):
            if admin.list_topics(timeout=1.0).brokers:
                return
        time.sleep(0.1)
    raise RuntimeError(f"Apache Kafka did not start: {log.read_text(errors='replace')[-2000:]}")
