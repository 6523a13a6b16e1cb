"""What was full: by what node, client and others used."""

import subprocess
import sys

import pytest

from numcheck.bench.resources import Cores, Reading, Used, limit_of, read_counters, share_cores

TWO = Cores((0,), (1,))
FOUR = Cores((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("cores", "used", "python", "writes", "full"),
    [
        (TWO, Used(0.5, 0.95, 0.0, 0.0), False, False, "client"),
        (TWO, Used(0.95, 0.5, 0.0, 0.0), False, False, "node"),
        (TWO, Used(0.95, 0.95, 0.0, 0.0), False, False, "client and node"),
        (TWO, Used(0.3, 0.3, 0.0, 0.8), False, True, "disk"),
        (TWO, Used(0.3, 0.3, 0.0, 0.8), False, False, "nothing"),  # somebody else's disk
        (TWO, Used(0.3, 0.3, 1.2, 0.0), False, False, "others"),
        (TWO, Used(0.95, 0.3, 0.4, 0.0), False, False, "node and others"),
        (TWO, Used(None, 0.3, None, None), False, True, "nothing"),
        (FOUR, Used(0.95, 0.3, 0.0, 0.0), False, False, "nothing"),
        (FOUR, Used(0.95, 0.3, 0.0, 0.0), True, False, "node"),  # Python's one core
        (FOUR, Used(1.9, 1.9, 0.0, 0.0), False, False, "client and node"),
    ],
)
def test_what_was_full_is_told_by_what_was_used(cores, used, python, writes, full):
    assert limit_of(used, cores, by_python=python, writes=writes) == full


def test_use_is_the_difference_of_two_readings_and_the_rest_is_others():
    used = Used.between(Reading(10, 1, 100, 5), Reading(12, 2.5, 104, 6), client_cpu_s=1)
    assert used == Used(node=0.75, client=0.5, others=0.75, disk=0.5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells it")
def test_processor_time_of_a_process_is_what_it_says_itself_and_none_once_it_is_gone():
    spend = "import time\nwhile time.process_time() < 0.05: pass\nprint(time.process_time(), flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", spend], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        itself = float(process.stdout.readline())
        assert itself <= read_counters(process.pid).node_cpu < itself + 1
        process.communicate()
    assert read_counters(process.pid).node_cpu is None


def test_what_the_system_does_not_tell_is_left_out():
    used = Used.between(Reading(10, None, None, None), Reading(12, None, None, None), client_cpu_s=1)
    assert used == Used(None, 0.5, None, None)


@pytest.mark.parametrize(
    ("available", "node_count", "expected", "shared"),
    [
        ([0, 1], 1, Cores((0,), (1,)), False),
        ([0, 1, 2, 3], 2, Cores((0, 1), (2, 3)), False),
        ([0, 1], 2, Cores((0, 1), (1,)), True),
        ([5], 1, Cores((5,), (5,)), True),
        ([], 1, Cores((), ()), False),
    ],
)
def test_node_and_client_have_cores_of_their_own_where_there_are_enough(available, node_count, expected, shared):
    cores = share_cores(available, node_count)
    assert (cores, cores.shared) == (expected, shared)
