"""Does what we start end with us, also when we are killed before it has begun?"""

import subprocess
import sys

import pytest

from tests.processes import gone_within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")

# Starts a program that knows nothing of its parent, says its process id, and is killed after so many seconds.
PARENT = """
import os, signal, subprocess, sys, time
from streams.children import ending_with_us
child = subprocess.Popen(ending_with_us([sys.executable, "-c", "import time; time.sleep(60)"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(float(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("after", [0.0, 0.01, 0.5])
def test_a_child_ends_with_its_parent(after):
    """Whether that dies before the program has begun, or while it runs."""
    found = subprocess.run([sys.executable, "-c", PARENT, str(after)], capture_output=True, text=True, check=False)
    assert gone_within(5, int(found.stdout)), found.stderr
