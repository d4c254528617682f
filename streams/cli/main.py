"""How does the process `dealpulse` begin?

It loads for a third of a second, with nothing to lose: Ctrl-C ends it at once.
"""

from __future__ import annotations

import os
import signal
import sys

from streams.cli.exits import INTERRUPTED


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
    cli(prog_name="dealpulse")


if __name__ == "__main__":
    main()
