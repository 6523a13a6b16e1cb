"""Translates AuditService: the chain of events for whoever keeps and verifies it. Nothing in it is personal."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.api.calls import CallerWaits, Feed, Pieces, parsed
from numcheck.api.slots import Slots
from numcheck.moments import microseconds
from numcheck.registrations.events import SignedHead, sign_newest
from numcheck.store import EventRow, Registrations
from numcheck.timestamps import timestamp_at
from numcheck.v1 import audit_pb2 as pb

SERVICE_NAME = "numcheck.v1.AuditService"
EXPORTS_MAX = 2  # each keeps a thread busy
EXPORTING = "(export)"  # stands for the service of a feed, which an export is not of
ANSWER_SIZE = 65_536  # bytes of an answer; an event that binds rows has as many
DIGESTS_PER_ANSWER = 500


class AuditService:
    """Reads events and digests, and signs heads."""

    name = SERVICE_NAME

    def __init__(
        self,
        registrations: Registrations,
        signing_key: Ed25519PrivateKey,
        *,
        now: Callable[[], datetime],
        exported: Callable[[], Registrations],
    ) -> None:
        """Read exports from what `exported` gives, which has all events that there are by then."""
        self._registrations, self._signing_key, self._now = registrations, signing_key, now
        self._source = exported
        self._slots = (Slots(EXPORTS_MAX, EXPORTS_MAX),)

    def _head(self, source: Registrations) -> SignedHead:
        return sign_newest(self._signing_key, source.events.try_head(), microseconds(self._now()))

    def get_head(self, request: bytes, _call: CallerWaits) -> bytes:
        """Return the signed head."""
        parsed(pb.GetHeadRequest, request)
        return pb.GetHeadResponse(head=_head_message(self._head(self._registrations))).SerializeToString()

    def export_events(self, request: bytes, _call: CallerWaits) -> Feed:
        """Return the events behind a position, and the head that they lead to."""
        after = parsed(pb.ExportEventsRequest, request).after_sequence
        return Feed(EXPORTING, self._exported(after), self._slots)

    def _exported(self, after: int) -> Pieces:
        source = self._source()
        head = self._head(source)
        while after < head.sequence:
            page = [row for row in source.events.after(after) if row.sequence <= head.sequence]
            if not page:
                break  # the chain is cut: whoever follows it sees that
            for some in _pieces(page):
                yield [pb.ExportEventsResponse(events=map(_event_message, some)).SerializeToString()]
            after = page[-1].sequence
        yield [pb.ExportEventsResponse(head=_head_message(head)).SerializeToString()]

    def list_row_digests(self, request: bytes, _call: CallerWaits) -> Feed:
        """Return what each row is now."""
        parsed(pb.ListRowDigestsRequest, request)
        return Feed(EXPORTING, self._digests(), self._slots)

    def _digests(self) -> Pieces:
        some: list[pb.RowDigest] = []
        for one in self._rows():
            some.append(one)
            if len(some) == DIGESTS_PER_ANSWER:
                yield [pb.ListRowDigestsResponse(rows=some).SerializeToString()]
                some = []
        yield [pb.ListRowDigestsResponse(rows=some).SerializeToString()]

    def _rows(self) -> Iterator[pb.RowDigest]:
        source = self._source()
        kinds: dict[Any, tuple[Callable[[], Iterator[Any]], str]] = {
            pb.ROW_KIND_REGISTRATION: (source.every_registration, "registration_id"),
            pb.ROW_KIND_VERIFICATION: (source.every_verification, "verification_id"),
            pb.ROW_KIND_CONFIRMATION: (source.every_confirmation, "confirmation_id"),
        }
        for kind, (every, name) in kinds.items():
            for row, whole in every():
                yield pb.RowDigest(kind=kind, row_id=getattr(row, name), mac=row.mac, whole=whole)

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""
        return {
            "GetHead": self.get_head,
            "ExportEvents": self.export_events,
            "ListRowDigests": self.list_row_digests,
        }


def _pieces(rows: Iterable[EventRow]) -> Iterator[list[EventRow]]:
    """Return the rows in their order, as many at a time as go into an answer."""
    some: list[EventRow] = []
    size = 0
    for row in rows:
        if some and size + len(row.details) > ANSWER_SIZE:
            yield some
            some, size = [], 0
        some.append(row)
        size += len(row.details) + 100
    if some:
        yield some


def _head_message(head: SignedHead) -> pb.ChainHead:
    return pb.ChainHead(
        sequence=head.sequence,
        hash=head.hash,
        signed_at=timestamp_at(head.signed_at_us),
        signature=head.signature,
        public_key=head.public_key,
    )


def _event_message(row: EventRow) -> pb.ChainEvent:
    return pb.ChainEvent(
        sequence=row.sequence,
        event_time=timestamp_at(row.at_us),
        service=row.service,
        registration_id=row.registration_id,
        kind=row.kind,
        state=row.state,
        details=row.details,
        hash=row.hash,
    )
