"""How does the process `dealpulse` begin?

It loads for a third of a second, with nothing to lose: Ctrl-C ends it at once.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TextIO

from streams.cli.exits import FAILED, INTERRUPTED


def main() -> None:
    """Run the command line."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not in the background of a shell
    if heard:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115,PTH123  # for as long as we run
        elif mode == "w" and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")  # a terminal that has no arrow is no reason to end
    from streams.cli.commands import cli  # noqa: PLC0415  # this is what takes the time

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        cli(prog_name="dealpulse")
    except SystemExit as end:
        sys.exit(end.code if _is_written(sys.stdout) or end.code else FAILED)


def _is_written(stream: TextIO) -> bool:
    """Write what the stream still holds; what cannot be written is let go of, or Python would try again and end with 120."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True


if __name__ == "__main__":
    main()
