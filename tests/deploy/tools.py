"""Is a program there?  Where nothing may be missing (CI=true) its absence is a failure, else a skip."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, remedy: str) -> str:
    """Return the program's path; skip, or fail in CI, when it is missing."""
    found = shutil.which(name)
    if found is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say(f"{name} is not installed: {remedy}")
    return found
