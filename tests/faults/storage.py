"""R2: the n-th storage call of a node fails, once or for good, amid a scripted workload.

Held to: every answer is OK or a status that docs/errors.md names; checks go on meanwhile; once the fault is lifted the
node recovers by itself, but for an I/O error, after which it may ask to be started anew; and what was acknowledged is
there, what was refused is done when it is repeated, and nothing is done twice.
"""

import errno
import mmap
import re
import struct
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.v1 import check_pb2, number_pb2, numbering_pb2
from numcheck.v1 import registration_pb2 as pb
from tests.faults.calls import DEADLINE_S
from tests.faults.gateway import Gateway
from tests.faults.ledger import Violation
from tests.faults.nodes import Life
from tests.faults.registrations import ENVIRONMENT, SERVICE
from tests.serving.command import ROOT, run

SOURCE = Path(__file__).with_name("faulty.c")
OPEN, WRITE, SYNC, TRUNCATE, RENAME, MAP, GROW = 1, 2, 4, 8, 16, 32, 64  # as faulty.c has them
EVERY_KIND = OPEN | WRITE | SYNC | TRUNCATE | RENAME | MAP
ACTIVE = number_pb2.NUMBER_STATUS_ACTIVE
FIRST_ACTIVE, FIRST_PORTED, FIRST_REGISTERED = 79_360_000_000, 79_361_000_000, 79_580_000_000
OWNER, RECIPIENT = "7713076301", "7743895280"
ROWS = (
    (79_360_000_000, 79_369_999_999, "АО Третий", OWNER),
    (79_160_000_000, 79_160_009_999, "ООО Второй", RECIPIENT),
    (79_580_000_000, 79_580_099_999, "ООО Четвёртый", "7705017253"),
)
DOCUMENTED = frozenset(re.findall(r"^## ([A-Z_]+)$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
RECOVERED_WITHIN_S = 20.0


class Fault(NamedTuple):
    """The faults, in calls of which kinds, and whether the node goes on by itself once it is over.

    No error: calls are done, each `delay_ms` late.
    """

    name: str
    kinds: int
    error: int
    half: bool = False
    recovers: bool = True
    delay_ms: int = 0


FAULTS = (
    Fault("no space", WRITE, errno.ENOSPC),
    Fault("short write", WRITE, errno.ENOSPC, half=True),
    Fault("no descriptors", OPEN, errno.EMFILE),
    Fault("I/O error", EVERY_KIND, errno.EIO, recovers=False),
)


def build_faulty(directory: Path) -> Path:
    """Compile what makes calls fail."""
    library = directory / "faulty.so"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return library


class Switch:
    """The file that the node reads what fails from."""

    _FORMAT = struct.Struct("=9i")  # armed, kinds, error, for good, half, at, seen, struck, delay

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(self._FORMAT.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), self._FORMAT.size)

    def arm(self, fault: Fault, *, at: int, for_good: bool) -> None:
        """Let the `at`-th call from now on fail, and those behind it if it is for good."""
        content = self._FORMAT.pack(0, fault.kinds, fault.error, for_good, fault.half, at, 0, 0, fault.delay_ms)
        self._shared[4:] = content[4:]
        self._shared[:4] = struct.pack("=i", 1)

    @property
    def struck(self) -> int:
        """How often something failed since it was armed."""
        return int(self._FORMAT.unpack(self._shared[:])[7])

    def lift(self) -> int:
        """Let nothing fail any more; how often something did."""
        self._shared[:4] = bytes(4)
        return self.struck


@dataclass(slots=True)
class Step:
    """A call that may be repeated, and its answer once it has one."""

    name: str
    call: Callable[[Life], Any]
    answer: Any = None


class Storage:
    """A node whose storage fails, and what it has acknowledged."""

    def __init__(self, directory: Path) -> None:
        """All is kept in the directory, which has to be empty."""
        self.switch, self._gateway = Switch(directory / "switch"), Gateway()
        self._data_dir, self._library = directory / "var", build_faulty(directory)
        self._env = {
            **ENVIRONMENT,
            **self._gateway.environment(directory),
            "FAULTY_ROOT": str(self._data_dir),
            "FAULTY_CONTROL": str(directory / "switch"),
        }
        self._round, self._ids = 0, {OWNER: 1, RECIPIENT: 2}
        self.restarts = 0
        self._data_dir.mkdir()
        plan = directory / "plan.csv"
        rows = [f"{str(a)[1:4]};{str(a)[4:]};{str(b)[4:]};{b - a + 1};{name};Москва;{tax}" for a, b, name, tax in ROWS]
        plan.write_text("\n".join(["АВС/ DEF;От;До;Емкость;Оператор;Регион;ИНН", *rows, ""]), encoding="utf-8")
        self._import(plan)
        self._start()
        listed = self._life.check.ListOperators(check_pb2.ListOperatorsRequest(), timeout=DEADLINE_S).operators
        self._ids = {one.tax_id: one.operator_id for one in listed}

    def _import(self, plan: Path) -> None:
        imported = run("plan", "import", plan, "--data-dir", self._data_dir)
        assert imported.status == 0, imported

    def _start(self) -> None:
        self._life = Life(self._library, self._env)
        self._life.begin(self._data_dir, None, "", 0.0)
        self._life.connect()

    def close(self) -> None:
        """End the node and the gateway."""
        self.switch.lift()
        self._life.kill()
        self._gateway.close()

    def run(self, fault: Fault, *, at: int, for_good: bool) -> bool:
        """The workload, with that fault; whether it has struck. Violation says what may not be."""
        steps = list(self._steps(self._round))
        self._round += 1
        self.switch.arm(fault, at=at, for_good=for_good)
        for step in steps:
            self._try(step)
            self._read()
        acknowledged = max((one.answer.index_version for one in steps[:3] if one.answer), default=0)
        self._wait_for_index(acknowledged, lambda: for_good and self.switch.struck > 0)
        struck = self.switch.lift()
        self._recover(steps, fault)
        self._check(steps)
        return bool(struck)

    # --- the workload

    def _steps(self, number: int) -> Iterator[Step]:
        yield Step("push", lambda life: life.numbering.PushActiveNumbers(iter(self._push(number)), timeout=DEADLINE_S))
        yield Step("portings", lambda life: life.numbering.PushPortings(iter(self._ported(number)), timeout=DEADLINE_S))
        plan = self._plan(number)
        yield Step("plan", lambda life: life.numbering.ImportNumberingPlan(iter(plan), timeout=DEADLINE_S))
        request = pb.RegisterRequest(
            service=SERVICE,
            request_id="r",
            user_id=f"u{number}",
            number=f"+{FIRST_REGISTERED + number}",
            network_address=pb.NetworkAddress(address="203.0.113.7", port=50_812),
            registration_data={"name": "n"},
        )
        yield Step("register", lambda life: life.registrations.Register(request, timeout=DEADLINE_S))
        yield Step("complete", lambda life: self._complete(life, number))

    def _complete(self, life: Life, number: int) -> Any:
        message = self._gateway.newest(FIRST_REGISTERED + number)
        request = pb.CompleteVerificationRequest(
            service=SERVICE,
            verification_id=message.verification_id if message else "00" * 16,
            code=message.code if message else "000000",
        )
        return life.registrations.CompleteVerification(request, timeout=DEADLINE_S)

    def _push(self, number: int) -> list[numbering_pb2.PushActiveNumbersRequest]:
        header = numbering_pb2.PushHeader(
            operator_id=self._ids[OWNER],
            mode=numbering_pb2.PUSH_MODE_DELTA,
            base_version=number,
            push_id=f"p{number}",
            data_time=Timestamp(seconds=1_750_000_000 + number),
        )
        return [numbering_pb2.PushActiveNumbersRequest(header=header, add=[FIRST_ACTIVE + number])]

    def _ported(self, number: int) -> list[numbering_pb2.PushPortingsRequest]:
        header = numbering_pb2.PortingsHeader(
            mode=numbering_pb2.PUSH_MODE_DELTA,
            base_version=number,
            push_id=f"p{number}",
            data_time=Timestamp(seconds=1_750_000_000 + number),
        )
        ported = numbering_pb2.PortedNumbers(operator_id=self._ids[RECIPIENT], numbers=[FIRST_PORTED + number])
        return [numbering_pb2.PushPortingsRequest(header=header, ported=[ported])]

    def _plan(self, number: int) -> list[numbering_pb2.ImportNumberingPlanRequest]:
        rows = [
            numbering_pb2.PlanRow(first=first, last=last, operator_name=name, tax_id=tax_id, region=f"r{number}")
            for first, last, name, tax_id in ROWS
        ]
        header = numbering_pb2.PlanHeader(calling_code=7, source="plan", series=["9"], force=True)
        return [numbering_pb2.ImportNumberingPlanRequest(header=header, rows=rows)]

    # --- judging

    def _try(self, step: Step) -> str:
        """Ask; the reason of a refusal, or nothing."""
        try:
            answer = step.call(self._life)
        except grpc.RpcError as error:
            status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
            if status is None or not any(detail.Unpack(info) for detail in status.details):
                raise Violation(f"{step.name} ended with {error.code()} and no reason") from None
            if info.reason not in DOCUMENTED:
                raise Violation(f"{step.name} was refused with {info.reason}, of which no page tells") from None
            return str(info.reason)
        step.answer = answer
        return ""

    def _read(self) -> check_pb2.CheckNumbersResponse:
        request = check_pb2.CheckNumbersRequest(numbers=[FIRST_ACTIVE, FIRST_PORTED])
        try:
            return self._life.check.CheckNumbers(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise Violation(f"checks do not go on: {error.code()}") from None

    def _wait_for_index(self, version: int, is_stopped: Callable[[], bool]) -> None:
        """Let the builder do its calls too, unless the fault keeps it from them."""
        deadline = time.monotonic() + RECOVERED_WITHIN_S
        while self._read().index_version < version and not is_stopped() and time.monotonic() < deadline:
            time.sleep(0.005)

    def _recover(self, steps: list[Step], fault: Fault) -> None:
        """Repeat what was refused until it is done."""
        deadline = time.monotonic() + RECOVERED_WITHIN_S
        for step in steps:
            while step.answer is None:
                reason = self._try(step)
                if reason and time.monotonic() > deadline:
                    raise Violation(f"{step.name} is refused with {reason} long after the fault is over")
                if reason == "STORE_UNAVAILABLE" and not fault.recovers:
                    self._life.kill()
                    self._start()
                    self.restarts += 1
                elif reason == "PROOF_NOT_ACCEPTED":
                    step.answer = False  # the fault came between what counted the code and its way to the gateway
                elif reason:
                    time.sleep(0.02)

    def _check(self, steps: list[Step]) -> None:
        """What was acknowledged is there, once, and the index comes to show it."""
        push, portings = steps[0], steps[1]
        for step in (push, portings):
            again = step.call(self._life)
            # These tell a repetition from the first time.
            for one in (again, step.answer):
                one.ClearField("first_push_time")
                one.ClearField("head_version")
            if again != step.answer or again.version != self._round or again.number_count != self._round:
                raise Violation(f"{step.name}: what was acknowledged is lost, or was done twice")
        request = pb.GetRegistrationRequest(service=SERVICE, user_id=f"u{self._round - 1}")
        found = self._life.registrations.GetRegistration(request, timeout=DEADLINE_S).registration
        told = steps[4].answer or steps[3].answer
        if found != told.registration:
            raise Violation("a registration is not what was acknowledged")
        self._check_index()

    def _check_index(self) -> None:
        places = range(self._round)
        numbers = [FIRST_ACTIVE + place for place in places] + [FIRST_PORTED + place for place in places]
        owners = [self._ids[OWNER]] * self._round + [self._ids[RECIPIENT]] * self._round
        deadline = time.monotonic() + RECOVERED_WITHIN_S
        while True:
            answer = self._life.check.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=numbers), timeout=DEADLINE_S)
            if set(answer.statuses[: self._round]) == {ACTIVE} and list(answer.operator_ids) == owners:
                return
            if time.monotonic() > deadline:
                raise Violation("the index does not show what the store holds")
            time.sleep(0.02)
