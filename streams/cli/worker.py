"""How does one worker of the group run?"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import click

from streams.cli.settings import Settings, with_settings

_PR_SET_PDEATHSIG = 1


@click.command("worker")
@click.option("--no-ticks", is_flag=True, hidden=True, help="Take the time from the data only.")
@click.option("--with-parent", type=int, metavar="PID", hidden=True, help="End when this process ends.")
@click.option("--rebuild", is_flag=True, hidden=True, help="Compute the next generation of the state, and tell nobody.")
@with_settings
def command(settings: Settings, *, no_ticks: bool, with_parent: int | None, rebuild: bool) -> None:
    """Run one worker of the group until SIGTERM."""
    if with_parent is not None and not end_with(with_parent):
        return
    from streams.worker import run  # noqa: PLC0415  # Faust takes a second to import, which no other command needs

    sys.exit(run(settings.environment, settings.definitions, ticks=not no_ticks, rebuild=rebuild))


def end_with(parent: int) -> bool:
    """Ask the kernel to end this process when its parent ends, on Linux; False if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent
