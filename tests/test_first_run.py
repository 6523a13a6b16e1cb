"""What a new user does: fill a directory, serve it, ask. A real process on a real port, over the real plan."""

import random
import signal
import subprocess
import sys
from bisect import bisect_right

import grpc
import pytest

from numcheck.store import Store
from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2

ACTIVE_COUNT = 2_000_000


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("first-run") / "var"
    command = [sys.executable, "-m", "numcheck", "demo", "--data-dir", directory, "--numbers", str(ACTIVE_COUNT)]
    subprocess.run(command, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def stub(data_dir):
    command = [sys.executable, "server.py", "--data-dir", data_dir, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if "ready on " in line)
        with grpc.insecure_channel(ready.split("ready on ")[1].split()[0]) as channel:
            yield check_pb2_grpc.CheckServiceStub(channel)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def oracle(data_dir):
    """Bisection over the plan's rows and Python sets of the active numbers: says status and operator of a number."""
    with Store(data_dir, read_only=True) as store:
        ranges = store.ranges()
        active = {one.operator_id: set(store.sets.active_set(one.operator_id)) for one in store.operators()}
    firsts = [held.first for held in ranges]

    def answer(number: int) -> tuple[int, int]:
        held = ranges[bisect_right(firsts, number) - 1] if number >= firsts[0] else None
        if not 70_000_000_000 <= number <= 79_999_999_999:
            return number_pb2.NUMBER_STATUS_INVALID, 0
        if held is None or number > held.last:
            return number_pb2.NUMBER_STATUS_UNALLOCATED, 0
        is_active = number in active[held.operator_id]
        status = number_pb2.NUMBER_STATUS_ACTIVE if is_active else number_pb2.NUMBER_STATUS_INACTIVE
        return status, held.operator_id

    answer.ranges = ranges
    answer.active = active
    return answer


def questions(oracle) -> list[int]:
    """Random numbers, active ones, every range's ends and what is beside them, and what is no number of the plan."""
    generator = random.Random(1)
    ends = [held.first for held in oracle.ranges] + [held.last for held in oracle.ranges]
    active = [number for numbers in oracle.active.values() for number in sorted(numbers)[::40]]
    numbers = [generator.randrange(79_000_000_000, 80_000_000_000) for _ in range(100_000)]
    numbers += [end + beside for end in ends for beside in (-1, 0, 1)] + active
    numbers += [0, 1, 2**64 - 1, 7, 69_999_999_999, 70_000_000_000, 80_000_000_000, 442_071_234_567]
    generator.shuffle(numbers)
    return numbers


def test_the_node_agrees_with_a_plain_oracle_on_the_real_plan(stub, oracle):
    """Statuses and operators over the wire are those of bisection and sets, in request order."""
    numbers = questions(oracle)
    batches = [numbers[start : start + 20_000] for start in range(0, len(numbers), 20_000)]
    requests = (check_pb2.CheckNumbersRequest(numbers=batch) for batch in batches)
    for batch, response in zip(batches, stub.StreamCheckNumbers(requests), strict=True):
        assert list(zip(response.statuses, response.operator_ids, strict=True)) == [oracle(number) for number in batch]


def test_a_number_as_a_person_writes_it_gets_its_operator_and_region(stub, oracle):
    """The answer names the range's operator, says that its data is synthetic, and that the number is not ported."""
    response = stub.CheckNumber(check_pb2.CheckNumberRequest(number="8 (916) 123-45-67"))
    assert (response.status, response.serving_operator.operator_id) == oracle(79161234567)
    assert response.number == 79161234567
    assert response.serving_operator.tax_id == response.range_holder.tax_id == "7740000076"
    assert response.serving_operator.synthetic
    assert not response.ported
    assert "Москва" in response.region


def test_all_active_numbers_of_the_demo_are_counted(oracle):
    """The population has exactly as many numbers as were asked for, each in its operator's own ranges."""
    assert sum(len(numbers) for numbers in oracle.active.values()) == ACTIVE_COUNT
    assert all(oracle(number)[1] == operator for operator, numbers in oracle.active.items() for number in numbers)
