"""Question: how long until every user of a withdrawn number is announced as revoked?

NUMCHECK_BENCH_REGISTERED users (10 million) hold numbers drawn from all active ones; the largest operator removes
NUMCHECK_BENCH_REMOVED (1 million) of its own in one delta, while a messenger watches. Counted from the acknowledgement
of the push to the last announcement: once for numbers drawn from its whole set, as subscribers leave, and once for
numbers that are all registered, the worst that such a push can do.

And how long for the user of one number that an operator removes, while a plan has just moved every number of the
country to another operator?
"""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest

from benchmarks.population import Numbers, Population
from benchmarks.processes import server
from numcheck._bits import CHUNK_NUMBERS
from numcheck.plan import bundled_source
from numcheck.registrations.record import Record
from numcheck.serving.keys import FILE_NAME, make_keys, read_keys
from numcheck.v1 import numbering_pb2 as numbering
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.check_pb2 import CheckNumberRequest
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from numcheck.v1.numbering_pb2_grpc import NumberingServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.registrations.world import ADDRESS, DATA, SERVICE, World

REGISTERED_COUNT = int(os.environ.get("NUMCHECK_BENCH_REGISTERED", "10000000"))
REMOVED_COUNT = int(os.environ.get("NUMCHECK_BENCH_REMOVED", "1000000"))
ROWS_A_TRANSACTION = 20_000
NUMBERS_A_MESSAGE = 100_000
PATIENCE_S = 600.0
REMOVALS = 5  # one after the other, while the plan's change is followed
MILLISECOND_US = 1_000  # what ids ascend by


@dataclass(frozen=True)
class Registered:
    """A data directory with its users, the operator that will remove numbers, and all that it has in service."""

    data_dir: Path
    operator_id: int
    active: Numbers
    users: Numbers


@pytest.fixture(scope="module")
def registered(reference: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    data_dir = shutil.copytree(reference.data_dir, tmp_path_factory.mktemp("revocation") / "var")
    operator_id, active_set = max(reference.active_sets.items(), key=lambda item: len(item[1]))
    chunks = [
        np.array(bitmap.to_array(), dtype=np.uint64) + chunk * CHUNK_NUMBERS for chunk, bitmap in active_set.chunks()
    ]
    users = np.unique(reference.active_numbers(REGISTERED_COUNT, seed=1))
    _register(data_dir, users)
    yield Registered(data_dir, operator_id, np.concatenate(chunks), users)
    shutil.rmtree(data_dir)


def _register(data_dir: Path, numbers: Numbers) -> None:
    """Write users as they stand when they are VERIFIED, without what led to it: that would take hours."""
    path = data_dir / FILE_NAME
    keys = read_keys(path) if path.exists() else make_keys(path, datetime.now(UTC))
    world = World(data_dir, keys=keys, now=datetime.now(UTC), policy={"data_age_max": timedelta(days=3650)})
    waiting = iter(numbers.tolist())
    made = world.register(next(waiting), "u0").registration.row
    while rows := [_row(world, made, number) for _, number in zip(range(ROWS_A_TRANSACTION), waiting, strict=False)]:
        made = made._replace(registered_at_us=made.registered_at_us + MILLISECOND_US)
        world.registrations.write(lambda work: [work.insert(row) for row in rows])
    world.close()


def _row(world: World, made, number: int):
    registration_id = world.vault.new_id(made.registered_at_us)
    record = Record(f"u{number}", number, {}, ADDRESS, DATA)
    return made._replace(registration_id=registration_id, **world.vault.sealed(registration_id, SERVICE, record))


def _delta(stub: NumberingServiceStub, operator_id: int, numbers: Sequence[int]) -> float:
    """Remove numbers, confirming that it is meant; the moment of the acknowledgement."""
    head = stub.GetOperatorState(numbering.GetOperatorStateRequest(operator_id=operator_id)).version
    header = numbering.PushHeader(operator_id=operator_id, mode=numbering.PUSH_MODE_DELTA, base_version=head)
    header.data_time.GetCurrentTime()
    pieces = [
        numbering.PushActiveNumbersRequest(remove=numbers[start : start + NUMBERS_A_MESSAGE])
        for start in range(0, len(numbers), NUMBERS_A_MESSAGE)
    ]
    made = stub.PushActiveNumbers(iter([numbering.PushActiveNumbersRequest(header=header), *pieces]))
    if made.confirmation_token:
        confirm = numbering.ConfirmPushRequest(operator_id=operator_id, confirmation_token=made.confirmation_token)
        made = stub.ConfirmPush(confirm).push
    return time.monotonic()


def _announced(data_dir: Path, operator_id: int, numbers: Sequence[int], expected_count: int) -> float:
    """Seconds from the acknowledgement of a delta that removes the numbers to the last announcement."""
    node = server("-m", "numcheck", "serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0")
    with node as (address, _), grpc.insecure_channel(address) as channel:
        watch = RegistrationServiceStub(channel).WatchRegistrations(
            pb.WatchRegistrationsRequest(service=SERVICE), timeout=PATIENCE_S
        )
        next(watch)
        acknowledged_at = _delta(NumberingServiceStub(channel), operator_id, numbers)
        for _ in range(expected_count):
            assert next(watch).event.kind == pb.REGISTRATION_EVENT_KIND_WITHDRAWN
        return max(time.monotonic() - acknowledged_at, 0.0)


@pytest.mark.parametrize("whose", ["subscribers at random", "users alone"])
@pytest.mark.benchmark(group="revocation")
def test_revocation_is_announced(benchmark, registered: Registered, whose: str) -> None:
    """One delta each, of even numbers and of odd ones, so that the second finds nothing of the first."""
    chance = np.random.default_rng(2)
    if whose == "subscribers at random":
        held = registered.active[registered.active % 2 == 0]
    else:
        held = np.intersect1d(registered.active[registered.active % 2 == 1], registered.users)
    removed = chance.choice(held, min(REMOVED_COUNT, len(held) // 3), replace=False)
    revoked_count = len(np.intersect1d(removed, registered.users))
    args = (registered.data_dir, registered.operator_id, removed.tolist(), revoked_count)
    took_s = benchmark.pedantic(_announced, args=args, rounds=1, iterations=1)
    benchmark.extra_info.update(registered=len(registered.users), removed=len(removed), revoked=revoked_count)
    print(f"{whose}: {len(removed):,} removed, {revoked_count:,} revoked, the last announced after {took_s:.2f} s")


def _moved_plan(file: Path) -> None:
    """Write the bundled plan with every range at the operator that comes next."""
    _, content = bundled_source()
    head, *rows = csv.reader(content.decode("utf-8-sig").splitlines(), delimiter=";")
    name, tax_id = head.index("Оператор"), head.index("ИНН")
    names = {row[tax_id]: row[name] for row in rows}
    following = dict(zip(names, [*names][1:] + [*names][:1], strict=True))
    for row in rows:
        row[tax_id] = following[row[tax_id]]
        row[name] = names[row[tax_id]]
    with file.open("w", newline="") as written:
        csv.writer(written, delimiter=";").writerows([head, *rows])


def _remove_one(check: CheckServiceStub, stub: NumberingServiceStub, number: int) -> float:
    """Take a number into its operator's data, and out of it again; the moment of the acknowledgement."""
    asked = CheckNumberRequest(number=f"+{number}")
    operator_id = check.CheckNumber(asked).serving_operator.operator_id
    for content in ({"add": [number]}, {"remove": [number]}):
        head = stub.GetOperatorState(numbering.GetOperatorStateRequest(operator_id=operator_id, without_digest=True))
        header = numbering.PushHeader(
            operator_id=operator_id, mode=numbering.PUSH_MODE_DELTA, base_version=head.version
        )
        header.data_time.GetCurrentTime()
        stub.PushActiveNumbers(iter([numbering.PushActiveNumbersRequest(header=header, **content)]))
    return time.monotonic()


def _announced_behind_a_plan(data_dir: Path, plan: Path, numbers: Sequence[int]) -> float:
    """Seconds from the acknowledgement of a removal to its announcement, the most of several."""
    node = server("-m", "numcheck", "serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0")
    with node as (address, _), grpc.insecure_channel(address) as channel:
        stub, check = NumberingServiceStub(channel), CheckServiceStub(channel)
        watched = RegistrationServiceStub(channel).WatchRegistrations(
            pb.WatchRegistrationsRequest(service=SERVICE), timeout=PATIENCE_S
        )
        index = stub.WatchIndex(numbering.WatchIndexRequest(), timeout=PATIENCE_S)
        before = next(index).index_version
        next(watched)
        command = [sys.executable, "-m", "numcheck", "plan", "import", plan, "--force", "--server", address]
        subprocess.run(command, check=True, capture_output=True)
        next(one for one in index if one.index_version > before)
        took_s, told_at = [], {}
        for number in numbers:
            acknowledged_at = _remove_one(check, stub, number)
            while f"u{number}" not in told_at:  # of few users the plan's own change may be the first to tell of them
                told_at[next(watched).event.user_id] = time.monotonic()
            took_s.append(max(told_at[f"u{number}"] - acknowledged_at, 0.0))
        return max(took_s)


@pytest.mark.benchmark(group="revocation")
def test_ordinary_removal_is_announced_behind_a_plan_that_moves_every_number(
    benchmark, registered: Registered, tmp_path: Path
) -> None:
    """Of users whom the rounds before have left VERIFIED: of other operators."""
    plan = tmp_path / "moved.csv"
    _moved_plan(plan)
    others = np.setdiff1d(registered.users, registered.active)
    numbers = np.random.default_rng(3).choice(others, REMOVALS, replace=False)
    args = (registered.data_dir, plan, numbers.tolist())
    took_s = benchmark.pedantic(_announced_behind_a_plan, args=args, rounds=1, iterations=1)
    print(f"behind a plan that moves every number: a removal announced after {took_s:.2f} s at worst")
