"""How much harm?  A little in every test run; with DEALPULSE_FAULTS=heavy what a release has to stand.

Any single number can be set: DEALPULSE_FAULTS_KILLS=100.
"""

from __future__ import annotations

import os

import pytest

HEAVY = os.environ.get("DEALPULSE_FAULTS") == "heavy"
SEED = int(os.environ.get("DEALPULSE_FAULTS_SEED", "20240301"))

only_heavy = pytest.mark.heavy


def dose(name: str, light: int, heavy: int) -> int:
    """Return DEALPULSE_FAULTS_<name>, or what this kind of run does by itself."""
    return int(os.environ.get(f"DEALPULSE_FAULTS_{name}", heavy if HEAVY else light))


def patience(light: float, heavy: float) -> list[pytest.MarkDecorator]:
    """Return the marks of a module that does harm, with a time-out in seconds for each of its tests."""
    return [pytest.mark.slow, pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(heavy if HEAVY else light)]
