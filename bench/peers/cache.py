"""Where do the peers come from?  From PyPI and Maven Central, in the versions pinned beside this file, into a cache of their own.

Nothing of it enters the product's environment or its lock files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench import j2
from bench.ground import EventFile, say

HERE = Path(__file__).parent
STREAMS = HERE / "kafka-streams"
PATIENCE = 900.0


class MissingError(Exception):
    """A peer cannot be had here; the text says why, in the words of the tool that was to fetch it."""


def cached(name: str, *sources: Path) -> Path:
    """Return the folder for what is made of these files; other contents, other folder."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dealpulse-peers"
    digest = hashlib.sha256(sys.version.encode())
    for source in sources:
        digest.update(source.read_bytes())
    return root / f"{name}-{digest.hexdigest()[:12]}"


def environment(name: str) -> Path:
    """Return the Python of an environment with what NAME.txt pins, made once.  Raises MissingError."""
    wanted = HERE / f"{name}.txt"
    folder = cached(name, wanted)
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    say(f"installing {name} into {folder} (once)")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--only-binary", ":all:", "--no-deps", "-r", str(wanted)])
    (folder / "complete").touch()
    return python


def kafka_streams() -> str:
    """Return the class path of the Kafka Streams peer, built once.  Raises MissingError."""
    sources = sorted(STREAMS.glob("src/main/java/**/*.java"))
    folder = cached("kafka-streams", STREAMS / "pom.xml", *sources)
    if not (folder / "complete").exists():
        for tool in ("java", "mvn"):
            if shutil.which(tool) is None:
                raise MissingError(f"no {tool} on the PATH")
        say(f"building the Kafka Streams peer into {folder} (once)")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(STREAMS, folder, ignore=shutil.ignore_patterns("target"))
        _run(["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "package"])
        (folder / "complete").touch()
    target = folder / "target"
    return f"{target / 'kafka-streams-peer-1.jar'}:{target / 'jars'}/*"


class KeptEvents(EventFile):
    """The events of J2, generated once per machine."""

    def __init__(self, count: int) -> None:
        folder = cached("events", Path(j2.__file__))
        done = folder / f"complete-{count}"
        self.count, self._path = count, folder / f"events-{count}"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            super().__init__(folder, count)
            done.touch()


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise MissingError(f"{command[0]} did not end within {PATIENCE:.0f} s") from None
    if done.returncode:
        raise MissingError((done.stderr.strip() or done.stdout.strip() or f"{command[0]} failed")[-500:])
