"""Translates WatchIdentifications of NumberingService."""

import re
from collections.abc import Callable, Collection, Iterable
from itertools import takewhile

from numcheck.api.access import own_operator
from numcheck.api.calls import CallerWaits, Feed, Pieces, parsed
from numcheck.api.slots import Slots
from numcheck.errors import BadResumeToken
from numcheck.registrations.identifications import Identifications, Identified
from numcheck.timestamps import timestamp_at
from numcheck.v1 import numbering_pb2

FEEDS_MAX = 16
FEEDS_PER_OPERATOR_MAX = 4
POSITION = re.compile(r"[1-9][0-9]{0,17}")


class WatchIdentifications:
    """Makes the feed of an operator; `telling` returns the services whose agreement with it includes the feed."""

    def __init__(self, identifications: Identifications, telling: Callable[[int], Collection[str]]) -> None:
        self._identifications, self._telling = identifications, telling
        self._slots = (Slots(FEEDS_MAX, FEEDS_PER_OPERATOR_MAX),)

    def feed(self, request: bytes, _call: CallerWaits) -> Feed:
        """Return the feed from a position on; without one, from the beginning."""
        message = parsed(numbering_pb2.WatchIdentificationsRequest, request)
        operator_id = message.operator_id
        own_operator(operator_id)
        self._identifications.after(operator_id, 0)  # UnknownOperator before anything is sent
        position = self._position(message.resume_token)
        return Feed(f"operator {operator_id}", self._told(operator_id, position), self._slots)

    def _position(self, token: str) -> int:
        """Return the position of a token; BadResumeToken if it was not given out, or of a history that was lost."""
        if not token:
            return 0
        position, _, mark = token.partition("-")
        if POSITION.fullmatch(position) is None or not self._identifications.has_mark(mark):
            raise BadResumeToken(
                "the resume_token was not given out by WatchIdentifications, or the store does not have what it told, "
                "as it was restored or failed over to an older state; resume from an older token, or from the beginning"
            )
        return int(position)

    def _told(self, operator_id: int, position: int) -> Pieces:
        while True:
            # A row whose agreement this node does not know yet waits: there are rows only under agreements.
            services, found = self._telling(operator_id), self._identifications.after(operator_id, position)
            agreed = _up_to_first_unknown(found, services)
            position = agreed[-1].row.position if agreed else position
            mark = self._identifications.mark() if agreed else ""
            yield [_message(one, mark) for one in agreed if one.number is not None]


def _up_to_first_unknown(found: Iterable[Identified], services: Collection[str]) -> list[Identified]:
    return list(takewhile(lambda one: one.row.service in services, found))


def _message(one: Identified, mark: str) -> bytes:
    row = one.row
    return numbering_pb2.WatchIdentificationsResponse(
        identification=numbering_pb2.Identification(
            number=one.number or 0,
            service=row.service,
            user_code=row.registration_id.hex(),
            ended=row.ended,
            event_time=timestamp_at(row.at_us),
        ),
        resume_token=f"{row.position}-{mark}",
    ).SerializeToString()
