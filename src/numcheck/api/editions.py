"""Translates EditionService, and the file of callers that an edition has."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError

from numcheck.access import Caller
from numcheck.api.callers import caller_of, message_of
from numcheck.api.calls import CallerWaits, Message, parsed
from numcheck.errors import BadCaller, EditionRefused, UnknownFile
from numcheck.v1 import caller_pb2, edition_pb2

SERVICE_NAME = "numcheck.v1.EditionService"
PIECE_SIZE = 262_144  # bytes of a file in one answer
OFFSET_MAX = 2**48  # no file is so long; some systems read nothing from near 2**63 on, and fail


class Editions(Protocol):
    """The editions that a node makes, or that a follower has."""

    def newest(self) -> bytes:
        """Return the newest edition, signed; IndexNotReady if there is none yet."""

    def read(self, sha256: bytes, offset: int, size: int) -> bytes:
        """Return a piece of a file of the last editions; UnknownFile if there is none of that hash."""


class EditionService:
    """Hands out editions and their files."""

    name = SERVICE_NAME

    def __init__(self, editions: Editions) -> None:
        self._editions = editions

    def watch_editions(self, request: bytes) -> Message:
        """Watch the editions: first the newest, then each newer one."""
        parsed(edition_pb2.WatchEditionsRequest, request)
        return self._editions.newest

    def fetch_file(self, request: bytes, _call: CallerWaits) -> bytes:
        """Return the next piece of a file."""
        wanted = parsed(edition_pb2.FetchFileRequest, request)
        content = self._editions.read(wanted.sha256, min(wanted.offset, OFFSET_MAX), PIECE_SIZE)
        if not content:
            raise UnknownFile("the file ends before the offset")
        return edition_pb2.FetchFileResponse(content=content).SerializeToString()

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""
        return {"WatchEditions": self.watch_editions, "FetchFile": self.fetch_file}


class CallersFile(NamedTuple):
    """The callers that may call, each with its token's tag if it has one; the agreements; the key of the tags."""

    callers: Iterable[tuple[Caller, bytes | None]]
    agreements: Iterable[tuple[str, int]]
    tag_key: bytes
    revision: int


def callers_file(content: CallersFile) -> bytes:
    """Return the file; the same content gives the same bytes."""
    callers = sorted(content.callers, key=lambda one: one[0].uri)
    return edition_pb2.PublishedCallers(
        callers=[edition_pb2.PublishedCaller(caller=message_of(one), token_tag=tag or b"") for one, tag in callers],
        agreements=[caller_pb2.Agreement(service=one[0], operator_id=one[1]) for one in sorted(content.agreements)],
        tag_key=content.tag_key,
        revision=content.revision,
    ).SerializeToString()


def read_callers_file(content: bytes) -> CallersFile:
    """Return what a file of callers holds; EditionRefused if it is none."""
    try:
        message = edition_pb2.PublishedCallers.FromString(content)
        callers = [(caller_of(one.caller), one.token_tag or None) for one in message.callers]
    except (DecodeError, BadCaller):
        raise EditionRefused("the file of callers is not a well-formed one") from None
    agreements = [(one.service, one.operator_id) for one in message.agreements]
    return CallersFile(callers, agreements, message.tag_key, message.revision)
