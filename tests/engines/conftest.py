"""Fixtures of the engines' tests."""

import pytest

from tests.engines.device_runs import allowed_on_the_cpu


@pytest.fixture
def _cpu_twins():
    """Let `make_engine` make engines of CUDA lanes for a network on the CPU."""
    with allowed_on_the_cpu():
        yield
