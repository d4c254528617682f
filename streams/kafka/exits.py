"""How does a worker that lost its place end?  At once, with one sentence and exit code 70.

Nothing is repaired in the running process: Kafka holds everything confirmed, and a fresh start begins
exactly behind it.  One way out means that every crash test tests it.
"""

from __future__ import annotations

import logging
import os
from typing import NoReturn

LOST_ITS_PLACE = 70
RESTART = "restart it"

log = logging.getLogger("dealpulse.kafka")


def lose_place(sentence: str, error: BaseException | None = None, *, remedy: str = RESTART) -> NoReturn:
    """Log the sentence and what to do about it, and end the process with exit code 70."""
    log.critical("%s; the process ends, %s", sentence, remedy, exc_info=error)
    for handler in [*log.handlers, *logging.getLogger().handlers]:
        handler.flush()
    os._exit(LOST_ITS_PLACE)
