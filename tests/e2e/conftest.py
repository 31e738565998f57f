# SPDX-License-Identifier: MIT
"""Fixtures: a running system shared by the tests of a module, a factory for tests that break theirs, and what was measured, told at the end."""

import pytest

import load
from harness import System

FIGURES = pytest.StashKey()


@pytest.fixture(scope="module")
def system():
    """All daemons, one worker with two converters, shared by the tests of a module, which leave it as they found it."""
    running = System().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(system):
    """A key of a customer without limits."""
    return system.new_customer("tester")


@pytest.fixture
def make_system():
    """make_system(workers=2, …) starts a system of the test's own; it is drained and checked afterwards."""
    made = []

    def make(**options):
        made.append(System(**options))
        return made[-1].start()

    yield make
    for running in made:
        running.stop()


@pytest.fixture(autouse=True)
def no_load_outlives_its_test():
    yield
    while load.running:
        load.running.pop().stopping.set()


@pytest.fixture
def figures(request):
    """Lines that are printed at the end of the run."""
    return request.config.stash.setdefault(FIGURES, [])


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(line)
