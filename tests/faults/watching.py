"""A messenger's watch that goes on where it was, over every kill: nothing is missed, and nothing is told otherwise."""

import random
from collections import Counter
from typing import Any

import grpc

from numcheck.errors import EventsAltered
from numcheck.registrations.events import SignedHead, check_signature
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.faults.calls import DEADLINE_S
from tests.faults.ledger import Violation
from tests.faults.nodes import Life
from tests.faults.users import EVENT_OF, Events

AGAIN_SHARE = 0.2  # of the watches go on a few events before the place that was reached
AGAIN_EVENTS = 5


class Watcher:
    """Takes the events of the only service there is: their sequences have no gap."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._told: list[pb.RegistrationEvent] = []  # event n is at n - 1
        self.head: SignedHead | None = None  # the newest that was handed out

    @property
    def event_count(self) -> int:
        """How many events were told."""
        return len(self._told)

    def run(self, life: Life, chance: random.Random) -> None:
        """Watch until the node is killed."""
        back = AGAIN_EVENTS if chance.random() < AGAIN_SHARE else 0
        try:
            for message in self._call(life.registrations, max(self.event_count - back, 0)):
                self._take(message)
        except grpc.RpcError as error:
            if not life.ending.is_set():
                raise Violation(f"a watch ended with {error.code()}, and the node lives") from None

    def _call(self, stub: RegistrationServiceStub, sequence: int) -> Any:
        # A minute more than any life: only what is never told would wait so long.
        token = f"{sequence}-{self._told[sequence - 1].hash[:8].hex()}" if sequence else "0"
        request = pb.WatchRegistrationsRequest(service=self._service, resume_token=token)
        return stub.WatchRegistrations(request, timeout=2 * DEADLINE_S)

    def _take(self, message: pb.WatchRegistrationsResponse) -> None:
        if message.HasField("head"):
            self._take_head(message.head)
            return
        event = pb.RegistrationEvent()
        event.CopyFrom(message.event)
        event.user_id = ""  # it goes when the user is erased
        if event.sequence == self.event_count + 1:
            self._told.append(event)
        elif event.sequence > self.event_count:
            raise Violation(f"a watch has missed an event: {event.sequence} follows {self.event_count}")
        elif self._told[event.sequence - 1] != event:
            raise Violation(f"event {event.sequence} is told as another")

    def _take_head(self, message: pb.EventHead) -> None:
        head = SignedHead(
            sequence=message.sequence,
            hash=message.hash,
            signed_at_us=message.signed_at.ToMicroseconds(),
            signature=message.signature,
            public_key=message.public_key,
            service=self._service,
        )
        try:
            check_signature(head)
        except EventsAltered as error:
            raise Violation(str(error)) from None
        if head.sequence < self.event_count or (self.head is not None and head.sequence < self.head.sequence):
            raise Violation("events were told, and are lost")
        self.head = head

    def catch_up(self, life: Life) -> None:
        """Take all that there is, on a node that nobody writes to now."""
        call = self._call(life.registrations, self.event_count)
        self._take(next(call))
        assert self.head is not None
        while self.event_count < self.head.sequence:
            self._take(next(call))
        call.cancel()
        if self._told and self._told[-1].hash != self.head.hash:
            raise Violation("the last event is not the one that the head is of")

    def compare(self, expected: Events, states: dict[str, int]) -> None:
        """Hold the events to what was done, and their last states to where the registrations stand."""
        wanted = set(EVENT_OF.values())
        told = Counter((one.registration_id, one.kind) for one in self._told if one.kind in wanted)
        if told != expected:
            (registration_id, kind), *_ = sorted((told - expected) | (expected - told))
            name = pb.RegistrationEventKind.Name(kind)
            counts = told[registration_id, kind], expected[registration_id, kind]
            raise Violation(f"of {name} a registration has {counts[0]} events and should have {counts[1]}")
        last = {one.registration_id: one.state for one in self._told}
        standing = {one: state for one, state in last.items() if state != pb.REGISTRATION_STATE_DELETED}
        if standing != states:
            raise Violation("registrations do not stand where their events left them")
