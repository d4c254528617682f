"""Does the present version go on exactly with the state of an earlier one, or refuse it and rebuild it?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest

from streams.cli.rebuild import rebuild
from streams.cli.settings import Settings
from streams.kafka import generations
from streams.kafka.transaction import StartError
from streams.topics import DEAD_LETTER, KPI_LATEST
from tests.faults import load
from tests.flow.conftest import embedded_broker, install  # noqa: F401  # fixtures
from tests.flow.installation import Installation
from tests.upgrade.recording import CALLS, EVENTS, RAW, SEED, Recording, calls, lay_out, read, record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
RECORDED = sorted(Path(__file__).parent.glob("*.json.gz"))
MORE = 200


def assert_goes_on_or_is_rebuilt(recording: Recording, installation: Installation) -> bool:
    """Return whether the state went on as it was; either way every number is right, after more events too."""
    lay_out(recording, installation)
    environment, definitions = installation.settings.environment, installation.settings.definitions
    old = {key: record["revision"] for key, record in installation.records().items()}
    letters = dead_letters(installation)
    assert len(old) > 100
    assert sum(letters.values()) > 0
    refusal = refused(installation)
    if refusal:
        assert "dealpulse rebuild" in refusal
        with installation.worker() as worker:
            assert worker.process.wait(30) == 1
            assert "dealpulse rebuild" in worker.last_words()
        assert rebuild(installation.settings)["generation"] == 2
        assert installation.audit()["different"] == 0
        assert dead_letters(installation) == letters
    # Nearly all calls again.
    installation.send_all((*list(load.records(EVENTS + MORE, SEED))[EVENTS:], *calls(CALLS + 1)))
    given = installation.settings
    with installation.worker() as worker:
        worker.wait_until_ready()
        installation.settings = Settings(generations.in_force(environment), definitions)
        installation.process_all(worker)
        installation.settings = given
    found = installation.audit()
    assert (found["different"], found["compared"] > 100) == (0, True), found
    assert set(dead_letters(installation).values()) == {1}
    now = {key: record["revision"] for key, record in installation.records(KPI_LATEST).items()}
    assert [key for key in old.keys() & now.keys() if now[key] < old[key]] == []
    return refusal is None


def refused(installation: Installation) -> str | None:
    """Return why a worker refuses the state, None if it does not."""
    try:
        generations.for_worker(installation.settings.environment, installation.settings.definitions)
    except StartError as error:
        return str(error)
    return None


def dead_letters(installation: Installation) -> Counter[tuple]:
    letters = [orjson.loads(message.value()) for message in installation.messages(DEAD_LETTER)]
    return Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_state_of_an_earlier_version(path, embedded_broker, install):  # noqa: F811  # fixtures
    """Recorded when it was made; whether it goes on is this version's choice, wrong numbers are not.

    If this fails because rows have another form now: raise the room's number in streams/state.py, and record anew.
    """
    assert_goes_on_or_is_rebuilt(read(path), install(embedded_broker, RAW))


def test_there_is_a_recording_of_an_earlier_version():
    """Else the test above would be empty."""
    assert RECORDED


def test_state_of_this_version_goes_on(embedded_broker, install):  # noqa: F811  # fixtures
    """What is recorded can be gone on with at all: nothing of it is lost on the way."""
    assert assert_goes_on_or_is_rebuilt(record(), install(embedded_broker, RAW))
