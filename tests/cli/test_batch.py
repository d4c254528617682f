"""Does a result stand where it was asked for, complete or not at all?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streams.cli.batch import _complete_or_not_at_all, is_written_as_it_is
from streams.cli.settings import CheckError


def write(out: Path, data: bytes) -> None:
    with _complete_or_not_at_all(out) as file:
        file.write(data)


def test_what_a_link_points_to_is_written(tmp_path):
    """The link stays one."""
    target, link = tmp_path / "elsewhere" / "result", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    for data in (b"one", b"two"):
        write(link, data)
        assert (target.read_bytes(), link.is_symlink()) == (data, True)
    assert [one.name for one in target.parent.iterdir()] == ["result"]


def test_standard_output_is_written_as_it_is(tmp_path):
    """By the name that the system has for it, be it a file or a pipe; nothing in /dev is replaced."""
    script = "from pathlib import Path; from tests.cli.test_batch import write; write(Path('/dev/stdout'), b'said')"
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"said"
    with (tmp_path / "file").open("wb") as file:
        subprocess.run([sys.executable, "-c", script], check=True, stdout=file)
    assert (tmp_path / "file").read_bytes() == b"said"
    assert is_written_as_it_is(Path("/dev/stdout"))
    assert not is_written_as_it_is(tmp_path / "file")


def test_what_is_half_written_is_not_there(tmp_path):
    """What stood there stays."""
    out = tmp_path / "out"
    write(out, b"before")
    with pytest.raises(TypeError):
        write(out, "no bytes")
    assert (out.read_bytes(), [one.name for one in tmp_path.iterdir()]) == (b"before", ["out"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_a_full_disk_is_named():
    """With the file that does not fit."""
    with pytest.raises(CheckError, match="--out: /dev/full cannot be written: No space left on device"):
        write(Path("/dev/full"), b"x" * 100_000)
