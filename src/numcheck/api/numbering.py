"""The methods of NumberingService, and the limit of pushes at once."""

from collections.abc import Callable, Iterator
from typing import Any

from numcheck.api.access import own_operator, this_caller
from numcheck.api.active_numbers import held_message, push_active_numbers, push_message
from numcheck.api.calls import CallerWaits, Message, parsed
from numcheck.api.identifications import WatchIdentifications
from numcheck.api.plan import import_numbering_plan, plan_message
from numcheck.api.portings import portings_message, push_portings
from numcheck.api.pushing import Outside, is_storable
from numcheck.api.slots import PushSlots
from numcheck.errors import UnknownPush
from numcheck.index import Index, PublishedIndex
from numcheck.store import Store
from numcheck.store.heads import Head
from numcheck.timestamps import timestamp_at
from numcheck.v1 import numbering_pb2

SERVICE_NAME = "numcheck.v1.NumberingService"
VERSIONS_KEPT = 1_000  # for watches that are behind

Push = Callable[[Store, Outside, Iterator[bytes]], Any]


class NumberingService:
    """Takes pushes into the store, and watches the index that follows from them."""

    name = SERVICE_NAME

    def __init__(
        self,
        store: Store,
        published: PublishedIndex,
        outside: Outside,
        *,
        changed: Callable[[], None],
        push_count_max: int,
        identifications: WatchIdentifications | None = None,
    ) -> None:
        """Call `changed` after each commit; take at most `push_count_max` pushes at once."""
        self._identifications = identifications
        self._store, self._published, self._outside = store, published, outside
        self._changed = changed
        self._slots = PushSlots(push_count_max)
        self._versions: tuple[int, ...] = ()  # the last ones that were published, ascending; replaced, never changed
        published.subscribe(self._note)

    def _note(self, index: Index | None) -> None:
        """Keep the version for watches that have not sent it yet."""
        if index is not None and index.index_version > max(self._versions, default=0):
            self._versions = (*self._versions[1 - VERSIONS_KEPT :], index.index_version)

    def _taking(self, push: Push, answer: Callable[[Any], Any]) -> Callable[[Iterator[bytes], CallerWaits], bytes]:
        """Return a method that takes a push and answers with its outcome."""

        def call(requests: Iterator[bytes], _call: CallerWaits) -> bytes:
            with self._slots.take(this_caller()):
                done = push(self._store, self._outside, requests)
            self._changed()
            response: bytes = answer(done).SerializeToString()
            return response

        return call

    def confirm_push(self, request: bytes, _call: CallerWaits) -> bytes:
        """Apply a held push, which its operator confirms."""
        operator_id, token = _named(parsed(numbering_pb2.ConfirmPushRequest, request))
        pushed = self._store.sets.confirm_push(operator_id, token, now=self._outside.now(), by=this_caller().uri)
        self._changed()
        return numbering_pb2.ConfirmPushResponse(push=push_message(pushed)).SerializeToString()

    def reject_held_push(self, request: bytes, _call: CallerWaits) -> bytes:
        """Drop a held push, which its operator did not mean."""
        operator_id, token = _named(parsed(numbering_pb2.RejectHeldPushRequest, request))
        self._store.sets.reject_push(operator_id, token, now=self._outside.now(), by=this_caller().uri)
        return numbering_pb2.RejectHeldPushResponse().SerializeToString()

    def list_held_pushes(self, request: bytes, _call: CallerWaits) -> bytes:
        """List the pushes that wait to be confirmed: of one operator, or for operator 0 of all."""
        message = parsed(numbering_pb2.ListHeldPushesRequest, request)
        own_operator(message.operator_id)
        held = self._store.sets.held_pushes(message.operator_id or None, now=self._outside.now())
        return numbering_pb2.ListHeldPushesResponse(held_pushes=map(held_message, held)).SerializeToString()

    def get_operator_state(self, request: bytes, _call: CallerWaits) -> bytes:
        """Return the head of an operator's active set, or for operator 0 that of the portings."""
        message = parsed(numbering_pb2.GetOperatorStateRequest, request)
        operator_id = message.operator_id
        own_operator(operator_id)
        head, digest = self._head(operator_id, digest=not message.without_digest)
        return numbering_pb2.GetOperatorStateResponse(
            operator_id=operator_id,
            version=head.version,
            number_count=head.number_count,
            data_time=timestamp_at(head.data_time_us) if head.version else None,
            digest=digest,
            sequences=[
                numbering_pb2.PortingsSequence(series=series, position=number)
                for series, number in sorted(head.sequences.items())
            ],
        ).SerializeToString()

    def _head(self, operator_id: int, *, digest: bool) -> tuple[Head, bytes]:
        if not operator_id:
            return self._store.sets.portings_head(), b""
        return self._store.sets.digest(operator_id) if digest else (self._store.sets.head(operator_id), b"")

    def watch_index(self, request: bytes) -> Message:
        """Watch the published versions: first the newest, then each one that follows."""
        parsed(numbering_pb2.WatchIndexRequest, request)
        told = self._published.get().index_version

        def message() -> bytes:
            nonlocal told
            told = next((version for version in self._versions if version > told), told)
            return numbering_pb2.WatchIndexResponse(index_version=told).SerializeToString()

        return message

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""
        return {
            "PushActiveNumbers": self._taking(push_active_numbers, push_message),
            "PushPortings": self._taking(push_portings, portings_message),
            "ImportNumberingPlan": self._taking(import_numbering_plan, plan_message),
            "ConfirmPush": self.confirm_push,
            "RejectHeldPush": self.reject_held_push,
            "ListHeldPushes": self.list_held_pushes,
            "GetOperatorState": self.get_operator_state,
            "WatchIndex": self.watch_index,
            **({} if self._identifications is None else {"WatchIdentifications": self._identifications.feed}),
        }


def _named(message: numbering_pb2.ConfirmPushRequest | numbering_pb2.RejectHeldPushRequest) -> tuple[int, str]:
    """Return whose held push a request is about, and its token; NotPermitted if it is not the caller's."""
    own_operator(message.operator_id)
    if not is_storable(message.confirmation_token):
        raise UnknownPush("the operator has no held push with that token")
    return message.operator_id, message.confirmation_token
