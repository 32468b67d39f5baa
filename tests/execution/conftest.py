"""What several files of tests of the executor start from."""

import pytest

from tests.execution.trading import Trading


@pytest.fixture
def trading() -> Trading:
    return Trading()
