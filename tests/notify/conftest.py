"""A Slack for each test of the notify room."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.notify.slack import FakeSlack


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    """Return a Slack that listens."""
    fake = FakeSlack()
    await fake.start()
    yield fake
    await fake.stop()
