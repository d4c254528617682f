"""How does the process begin, and end before it has begun?"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED_WHILE_LOADING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "confluent_kafka":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
from streams.cli.main import main
main()
"""


def test_ctrl_c_while_it_loads_is_no_traceback():
    """It ends with the exit code of a Ctrl-C later, without a word."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_WHILE_LOADING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["kpis", "-h"], ["rules", "check"], ["rules", "check", "--json"]]
)
def test_a_full_disk_under_the_output_is_one_line(arguments, unbuffered):
    """No traceback, and no second complaint of Python's about what it could not write, which ended with 120."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "streams.cli.main", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert (done.returncode, done.stderr) == (1, "dealpulse: standard output: No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_utf_8_in_every_locale(encoding):
    """Names came out as question marks where the locale has no such letters, and nothing was said."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "kpis", "--json"], capture_output=True, env=environment, check=True
    )
    assert json.loads(done.stdout.decode("utf-8"))[0]["names"]["uk"] == "Ліди у воронці"
