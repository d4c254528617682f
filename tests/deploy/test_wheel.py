"""Is everything that runs in the wheel, and nothing that only develops?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ["streams", "schemas", "data", "tests", "deploy", "pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Give the wheel of this checkout, built in a copy without asking the network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__", "target"))
        else:
            shutil.copy(ROOT / part, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


@pytest.mark.slow
def test_wheel_holds_the_code_its_types_the_schemas_and_the_sample_data(wheel):
    names = set(wheel.namelist())
    share = "dealpulse-0.1.0.data/data/share/dealpulse"
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "streams").rglob("*.py")}
    schemas = {f"{share}/schemas/{path.name}" for path in (ROOT / "schemas").iterdir()}
    data = {f"{share}/data/maven_crm/{path.name}" for path in (ROOT / "data" / "maven_crm").iterdir()}
    assert code | schemas | data | {"streams/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "deploy/", "bench/"))]


@pytest.mark.slow
def test_wheel_announces_the_command_and_the_transport(wheel):
    points = wheel.read("dealpulse-0.1.0.dist-info/entry_points.txt").decode()
    assert "[console_scripts]\ndealpulse = streams.cli.main:main" in points
    assert "[faust.transports]\ndealpulse = streams.kafka.transport:Transport" in points
