"""Does packing come to an end, as a measurement must?"""

import pytest

from bench.resting import pack
from streams.kafka.packing import ENOUGH
from streams.kafka.resting import Packer, Resting
from streams.kafka.room import StateTable


def test_fewer_rows_than_a_worker_packs_are_refused():
    """They would be waited for without an end."""
    table = StateTable()
    table.resting = Resting(Packer())
    table.rows = {b"d%d" % number: b"row" for number in range(ENOUGH - 1)}
    with pytest.raises(SystemExit, match="take more deals"):
        pack([table])
