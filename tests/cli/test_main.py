"""How does the process begin, and end before it has begun?"""

import subprocess
import sys

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
