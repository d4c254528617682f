"""What did a run do and find?  One JSON file and one table for people in bench/reports, of heavy runs only.

Run: python -m tests.faults.wide.report    puts what stands there into docs/reliability.md
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.faults.wide.dose import HEAVY, SEED

FOLDER = Path(__file__).parents[3] / "bench" / "reports"
PAGE = FOLDER.parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- from bench/reports: begin -->\n", "<!-- from bench/reports: end -->\n"


def write(name: str, question: str, found: dict[str, Any]) -> None:
    """Print what was found, and keep it if this was a heavy run."""
    chosen = {key: value for key, value in os.environ.items() if key.startswith("DEALPULSE_FAULTS_")}
    ended = time.strftime("%Y-%m-%d %H:%M")
    found = {"question": question, "ended": ended, "commit": _commit(), "seed": str(SEED), "chosen": chosen, **found}
    found["load_average"] = [round(one, 1) for one in os.getloadavg()]
    print(json.dumps(found))
    if HEAVY:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"faults-{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (FOLDER / f"faults-{name}.md").write_text(_page(name, found), encoding="utf-8")


def _commit() -> str | None:
    """Return which state of the code this is, reports aside; None where it is no checkout, or git is missing."""
    if shutil.which("git") is None:
        return None
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!bench/reports")
    return f"{head}-dirty" if changed else head or None


def _git(*words: str) -> str:
    root = FOLDER.parents[1]
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout.strip()


def _page(name: str, found: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {key.replace('_', ' ')} | {_said(value)} |"
        for key, value in found.items()
        if key not in ("question", "chosen", "test")
    )
    chosen = "".join(f"{key}={value} " for key, value in found["chosen"].items())
    command = f"{chosen}DEALPULSE_FAULTS=heavy python -m pytest {found.get('test', 'tests/faults/wide')}"
    return f"# {name}: {found['question']}\n\n    {command}\n\n| | |\n|---|---|\n{rows}\n"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def summary() -> str:
    """Return what all reports say, as a table: those that must be exact, then the negative controls."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("faults-*.json"))}
    rows = sorted((one.get("different", 0) > 0, name, one) for name, one in found.items())
    head = (
        "| what was done | events | cells compared | different | recovery p50 / p95 / max | longest wait | load | commit |\n"
    )
    return head + "|---|---|---|---|---|---|---|---|\n" + "".join(_row(name, one) for _, name, one in rows)


def _row(name: str, one: dict[str, Any]) -> str:
    harm = ", ".join(f"{count:,} × {kind}" for kind, count in one.get("harm", {}).items())
    recovery = one.get("recovery_s", {})
    waits = " / ".join(f"{recovery[key]:.1f}" for key in ("p50", "p95", "max")) if recovery.get("of") else ""
    longest = one.get("longest_wait_of_a_partition_s")
    cells = [
        f"[{one['question']}](../bench/reports/{name}.md){': ' + harm if harm else ''}",
        *(_said(one[key]) if key in one else "" for key in ("events_sent", "cells", "different")),
        waits,
        f"{longest:.1f}" if longest else "",
        _said(one["load_average"][0]),
        one["commit"],
    ]
    return f"| {' | '.join(cells)} |\n"


def with_summary(page: str) -> str:
    """Return the page with the table of what stands in bench/reports now."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + summary() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_summary(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
