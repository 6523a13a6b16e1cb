"""People who register without a pause, whatever happens to the database, and what was acknowledged to them.

Each intent is in the ledger before it is sent, and its answer before the next. A call without an answer, or with
UNAVAILABLE, is repeated with the same request_id until it is answered: it may have been done each time, or not.
"""

import itertools
import threading
import time
from dataclasses import dataclass, field

import grpc

from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.faults.calls import DEADLINE_S, refused_by
from tests.faults.ledger import Ledger, Violation

NUMBERS = range(79_580_020_000, 79_580_030_000)  # of an operator without data
TOO_MUCH = ("TOO_MANY_CALLS", "OVERLOADED")  # calls wait longer than a node lets them
REST_S = 0.05  # before a call is repeated
PAGE_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A call that was answered: when it was first made, and when it was answered."""

    began_s: float
    ended_s: float


@dataclass(slots=True)
class Crowd:
    """So many at once, each with a new user after the other, all of one service."""

    address: str
    service: str
    ledger: Ledger
    size: int = 4
    known: dict[str, pb.Registration] = field(default_factory=dict)
    open: dict[str, pb.RegisterRequest] = field(default_factory=dict)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    unknown_count: int = 0
    longest_s: float = 0.0
    """How long a call took at most that ended without saying what was done."""
    failures: list[BaseException] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _numbers: "itertools.cycle[int]" = field(default_factory=lambda: itertools.cycle(NUMBERS))
    _turn: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        """Begin to register."""
        self._threads = [threading.Thread(target=self._run, args=(place,)) for place in range(self.size)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more, and return once nothing is under way; raise what went wrong."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def wait_for(self, count: int, *, begun_after_s: float = 0.0, patience_s: float) -> Acknowledged | None:
        """Return the last of so many that were acknowledged and begun after a moment, or None once patience is over."""

        def found() -> list[Acknowledged]:
            return [one for one in self.acknowledged if one.began_s > begun_after_s]

        with self._turn:
            self._turn.wait_for(lambda: len(found()) >= count or self.failures, patience_s)
            return found()[count - 1] if len(found()) >= count else None

    def pause_s(self, after_s: float) -> float:
        """How long nothing was acknowledged at most, of what was begun after a moment."""
        with self._turn:
            ends = sorted(one.ended_s for one in self.acknowledged if one.began_s > after_s)
        return max(after - before for before, after in itertools.pairwise([after_s, *ends]))

    def _run(self, place: int) -> None:
        try:
            with grpc.insecure_channel(self.address) as channel:
                stub = RegistrationServiceStub(channel)
                for count in itertools.count():
                    if self._over.is_set():
                        return
                    self._register(stub, f"{self.service}-{place}-{count}")
        except BaseException as failure:
            with self._turn:
                self.failures.append(failure)
                self._turn.notify_all()

    def _register(self, stub: RegistrationServiceStub, user_id: str) -> None:
        with self._turn:
            number = next(self._numbers)
        request = pb.RegisterRequest(
            service=self.service,
            request_id=user_id,
            user_id=user_id,
            number=f"+{number}",
            network_address=pb.NetworkAddress(address=f"203.0.113.{number % 250}", port=50_812),
            registration_data={"name": user_id},
        )
        intent = self.ledger.intend(register=user_id)
        self.open[user_id] = request
        while not self._over.is_set():
            began_s = time.monotonic()
            try:
                answer = stub.Register(request, timeout=DEADLINE_S)
            except grpc.RpcError as error:
                refused = refused_by(error)
                if refused is not None and refused.reason not in TOO_MUCH:
                    raise Violation(f"a user is refused with {refused.reason}, for no reason of its own") from None
                with self._turn:
                    self.unknown_count += 1
                    self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                self._over.wait(REST_S)
                continue
            self.ledger.answer(intent, ok=True)
            del self.open[user_id]
            with self._turn:
                self.known[user_id] = answer.registration
                self.acknowledged.append(Acknowledged(began_s, time.monotonic()))
                self._turn.notify_all()
            return

    # --- judging, once it has stopped

    def check(self, address: str) -> None:
        """Compare with what a node of the database has: all that was acknowledged, as it was; of what has no answer
        all or nothing, and from now on the same for good; and nothing that nobody asked for."""
        found = self._listed(address)
        for user_id, registration in self.known.items():
            if found.pop(user_id, None) != registration:
                raise Violation(f"a registration was acknowledged and is lost, or another: {user_id}")
        for user_id, request in self.open.items():
            registration = found.pop(user_id, None)
            if registration is None:
                continue
            if (registration.number, dict(registration.registration_data)) != (
                int(request.number[1:]),
                dict(request.registration_data),
            ):
                raise Violation(f"a registration is there in part: {user_id}")
            self.known[user_id] = registration
        self.open.clear()
        if found:
            raise Violation(f"there are {len(found)} registrations that nobody asked for")

    def _listed(self, address: str) -> dict[str, pb.Registration]:
        found: dict[str, pb.Registration] = {}
        token = ""
        with grpc.insecure_channel(address) as channel:
            stub = RegistrationServiceStub(channel)
            while True:
                request = pb.ListRegistrationsRequest(service=self.service, page_size=PAGE_SIZE, page_token=token)
                page = stub.ListRegistrations(request, timeout=DEADLINE_S)
                found.update((one.user_id, one) for one in page.registrations)
                token = page.next_page_token
                if not token:
                    return found
