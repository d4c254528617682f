"""How would the jobs be written in Bytewax?  Keyed state per pane and deal, its Kafka connectors, recovery to disk, at least once.

Run: python job_bytewax.py OPTIONS, a JSON object (systems.py says which), in the environment of bytewax.txt.
The exchange between keys happens inside the process, not on a topic; state is kept in SQLite files, not in changelogs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream, Stream
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

EPOCH = timedelta(seconds=1)  # how often state is written down
Totals = tuple[int, ...]


def milliseconds(event: dict[str, Any]) -> int:
    """Return the event's own time."""
    return round(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000)


def pane(whose: str, at: int) -> str:
    """Return the name of the pane that holds an instant."""
    return f"{whose}|{at // 60_000}"


def by_rep(message: KafkaSourceMessage[Any, bytes]) -> tuple[str, Totals]:
    """Return what an event adds to its rep's pane."""
    event = json.loads(message.value)
    return pane(event["rep_id"], milliseconds(event)), (1,)


def by_deal(message: KafkaSourceMessage[Any, bytes]) -> tuple[str, tuple[str, int]]:
    """Return what a change says of its deal."""
    event = json.loads(message.value)
    return event["deal_id"], (event["to_stage"], milliseconds(event))


def follow(before: tuple[str, int] | None, now: tuple[str, int]) -> tuple[tuple[str, int], Iterable[tuple[str, Totals]]]:
    """Keep a deal's stage and since when; return what its change adds to stages."""
    stage, at = now
    if before is None:
        return now, [(pane(stage, at), (1, 0, 0))]
    if before[0] == stage:
        return before, []
    return now, [(pane(before[0], at), (0, 1, at - before[1])), (pane(stage, at), (1, 0, 0))]


def total(sums: Totals | None, more: Totals) -> tuple[Totals, Totals]:
    """Add to a pane; return it twice, to keep and to tell."""
    sums = more if sums is None else tuple(one + other for one, other in zip(sums, more, strict=True))
    return sums, sums


def dataflow(options: dict[str, Any]) -> Dataflow:
    """Return one job."""
    flow = Dataflow(options["job"])
    brokers = [options["broker"]]

    def source(*names: str) -> Stream[KafkaSourceMessage[Any, bytes]]:
        return op.input("-".join(names), flow, KafkaSource(brokers, [options[name] for name in names]))

    def told(step: str, panes: KeyedStream[Totals], measures: tuple[str, ...]) -> Stream[KafkaSinkMessage[bytes, bytes]]:
        def message(row: tuple[str, Totals]) -> KafkaSinkMessage[bytes, bytes]:
            return KafkaSinkMessage(row[0].encode(), json.dumps(dict(zip(measures, row[1], strict=True))).encode())

        return op.map(f"{step}-record", op.stateful_map(f"{step}-total", panes, total), message)

    if options["job"] == "j1":
        records = told("reps", op.map("by-rep", source("activity", "stage"), by_rep), ("events",))
    else:
        reps = told("reps", op.map("by-rep", source("activity"), by_rep), ("activities",))
        moves = op.stateful_flat_map("deals", op.map("by-deal", source("stage"), by_deal), follow)
        stages = told("stages", op.map("by-stage", moves, lambda row: row[1]), ("entered", "left", "stay_ms"))
        records = op.merge("records", reps, stages)
    op.output("out", records, KafkaSink(brokers, options["out"]))
    return flow


def main() -> None:
    """Run one job until ended."""
    options = json.loads(sys.argv[1])
    state = Path(options["state"])
    state.mkdir()
    init_db_dir(state, 1)
    cli_main(dataflow(options), epoch_interval=EPOCH, recovery_config=RecoveryConfig(str(state)))


if __name__ == "__main__":
    main()
