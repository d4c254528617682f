"""Where does a test's server listen, when other tests start servers and connect to them at the same time?"""

from __future__ import annotations

import socket

_held: list[socket.socket] = []


def reserved_port() -> int:
    """Return a loopback port that stays the caller's while this process lives, also before and between its servers.

    A socket is bound to it and never listens: the system gives the port to nobody who asks for any, be it to connect from,
    and lets a server that sets SO_REUSEADDR, as all of ours do, listen on it all the same.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    return int(holder.getsockname()[1])
