"""An operator that pushes one change after the other, whatever happens to the database, and what was acknowledged."""

import itertools
import threading
import time
from dataclasses import dataclass, field

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2, numbering_pb2
from numcheck.v1.numbering_pb2_grpc import NumberingServiceStub
from tests.cluster.crowd import REST_S, TOO_MUCH
from tests.faults.calls import DEADLINE_S, refused_by
from tests.faults.ledger import Ledger, Violation
from tests.faults.pushes import DATA_TIME_S, OPERATORS

TAX_ID, _, NUMBERS = OPERATORS[0]
VISIBLE_WITHIN_S = 60.0  # a bound for hanging campaigns, not a promise
GAP = 1_000  # versions that an epoch leaves out, as docs/recovery.md says


@dataclass(slots=True)
class Pusher:
    """Adds a number, or removes it again, by deltas: each is repeated under its push_id until it is answered."""

    ledger: Ledger
    active: set[int] = field(default_factory=set)
    open: int | None = None  # the number of a delta without an answer
    count: int = 0
    failure: BaseException | None = None
    _version: int = 0
    _operator_id: int = 0
    _places: "itertools.count[int]" = field(default_factory=itertools.count)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, address: str) -> None:
        """Begin to push to a node; what is open is done with first."""
        self._over.clear()
        self._thread = threading.Thread(target=self._run, args=(address,))
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and return once nothing is under way; raise what went wrong."""
        self._over.set()
        assert self._thread is not None
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self, address: str) -> None:
        try:
            with grpc.insecure_channel(address) as channel:
                stub = NumberingServiceStub(channel)
                while not self._over.is_set():
                    self._push(stub, next(self._places))
        except BaseException as failure:
            self.failure = failure

    def _push(self, stub: NumberingServiceStub, place: int) -> None:
        number = NUMBERS[place % len(NUMBERS)]
        header = numbering_pb2.PushHeader(
            operator_id=self._operator_id,
            mode=numbering_pb2.PUSH_MODE_DELTA,
            base_version=self._version,
            push_id=f"push-{place}",
            data_time=Timestamp(seconds=DATA_TIME_S + place),
        )
        change = {"remove": [number]} if number in self.active else {"add": [number]}
        request = numbering_pb2.PushActiveNumbersRequest(header=header, **change)
        intent = self.ledger.intend(push=place, **change)
        self.open = number
        while not self._over.is_set():
            try:
                answer = stub.PushActiveNumbers(iter([request]), timeout=DEADLINE_S)
            except grpc.RpcError as error:
                refused = refused_by(error)
                if refused is not None and refused.reason not in TOO_MUCH:
                    raise Violation(f"a push is refused with {refused.reason}, for no reason of its own") from None
                self._over.wait(REST_S)
                continue
            self.ledger.answer(intent, version=answer.version)
            if not _follows(answer.version, self._version):
                raise Violation(f"a push made version {answer.version} of {self._version}")
            self._version, self.open = answer.version, None
            self.active ^= {number}
            self.count += 1
            return

    # --- judging, once it has stopped

    def check(self, address: str) -> None:
        """Compare with what a node has: all that was acknowledged, of what is open all or nothing, and nothing else;
        and its index shows that."""
        with grpc.insecure_channel(address) as channel:
            checks, numbering = check_pb2_grpc.CheckServiceStub(channel), NumberingServiceStub(channel)
            listed = checks.ListOperators(check_pb2.ListOperatorsRequest(), timeout=DEADLINE_S).operators
            self._operator_id = next(one.operator_id for one in listed if one.tax_id == TAX_ID)
            request = numbering_pb2.GetOperatorStateRequest(operator_id=self._operator_id, without_digest=True)
            state = numbering.GetOperatorState(request, timeout=DEADLINE_S)
            if self.open is not None and _follows(state.version, self._version):
                self.active ^= {self.open}
                self._version = state.version
            self.open = None
            if (state.version, state.number_count) != (self._version, len(self.active)):
                raise Violation(f"version {self._version} was acknowledged; there is version {state.version}")
            deadline = time.monotonic() + VISIBLE_WITHIN_S
            while self._shown(checks) != self._expected():
                if time.monotonic() > deadline:
                    raise Violation("the index does not show what was acknowledged")
                time.sleep(REST_S)

    def _shown(self, checks: check_pb2_grpc.CheckServiceStub) -> bytes:
        answer = checks.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=NUMBERS), timeout=DEADLINE_S)
        return bytes(answer.statuses)

    def _expected(self) -> bytes:
        if not self._version:
            return bytes([number_pb2.NUMBER_STATUS_UNKNOWN]) * len(NUMBERS)
        active, inactive = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE
        return bytes(active if number in self.active else inactive for number in NUMBERS)


def _follows(version: int, before: int) -> bool:
    """Whether a version is the next one: each failover may have left GAP out, and nothing else does."""
    return version > before and (version - before - 1) % GAP == 0
