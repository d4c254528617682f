"""Where does a real /metrics come from?  One process each, which ends with the test."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

# Drives every series that a healthy worker with some traffic fills; ends when its input is closed.
WORKER = """
import random, sys, threading, time
from streams import metrics
from streams.events.contract import Reason

_, port = metrics.serve()
metrics.declare_rules(["conversion-drop", "response-rise"])
metrics.REBALANCES.inc()
metrics.RESTORED_RECORDS.inc(1200)
print(port, flush=True)

def work():
    while True:
        now = time.time()
        for topic in metrics.SOURCES:
            metrics.EVENTS_CONSUMED.labels(topic).inc(50)
            for partition in range(2):
                metrics.LAG_RECORDS.labels(topic, str(partition)).set(random.randint(0, 20))
                metrics.LAG_SECONDS.labels(topic, str(partition)).set(random.random())
        metrics.EVENTS_ACCEPTED.inc(97)
        metrics.EVENTS_REJECTED.labels(Reason.BAD_TIME).inc()
        metrics.DEAD_LETTERS.labels(Reason.BAD_TIME).inc()
        metrics.WATERMARK.set(now - 3)
        metrics.LAST_EVENT.set(now)
        metrics.PROCESSING.observe(8e-6, 100)
        metrics.DELAY.observe(random.uniform(0.05, 0.4), 100)
        metrics.FLUSH.observe(random.uniform(0.008, 0.05))
        metrics.TRANSACTIONS.inc()
        metrics.KPI_RECORDS.labels(metrics.KPI_LATEST).inc(30)
        for room in metrics.ROOMS:
            metrics.TABLE_KEYS.labels(room).set(1000)
        time.sleep(0.1)

threading.Thread(target=work, daemon=True).start()
sys.stdin.read()
"""


@contextlib.contextmanager
def metrics_source() -> Iterator[int]:
    """Run a process that shows /metrics on loopback; give its port."""
    process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait(10)
