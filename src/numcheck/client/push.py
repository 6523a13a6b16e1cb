"""A client of NumberingService: pushes what operators and the clearing house know."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import grpc

from numcheck.client.channel import PLAINTEXT, Security, open_channel
from numcheck.client.failures import let_go, refusal_of
from numcheck.client.patience import PATIENCE_S, Patience, Tell
from numcheck.errors import PushRefused
from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2, numbering_pb2, numbering_pb2_grpc

NUMBERS_PER_MESSAGE = 100_000  # 800 kB: a message may have a MiB
ROWS_PER_MESSAGE = 2_000
DEADLINE_S = 10.0
SNAPSHOT, DELTA = numbering_pb2.PUSH_MODE_SNAPSHOT, numbering_pb2.PUSH_MODE_DELTA


class Numbers(NamedTuple):
    """A piece of a push of active numbers: numbers to add and to remove, and ranges, first and last inclusive."""

    add: Sequence[int] = ()
    remove: Sequence[int] = ()
    add_ranges: Sequence[tuple[int, int]] = ()
    remove_ranges: Sequence[tuple[int, int]] = ()


class PushClient:
    """Pushes to one node. Methods raise PushRefused, NodeNotReady if repeating can help, or NodeUnreachable.

    Calls are made again while the node is away for a while, and so are pushes with a push_id: nothing is done twice.
    """

    def __init__(
        self,
        target: str,
        security: Security = PLAINTEXT,
        *,
        patience_s: float = PATIENCE_S,
        tell: Tell = lambda _line: None,
    ) -> None:
        """Make a client of the node at `target`, host:port; nothing is connected yet.

        A node that was reached once is waited for, up to `patience_s` for each call; `tell` is told of each pause.
        """
        self._target, self._security = target, security
        self._patience = Patience(target, PushRefused, patience_s, tell)
        self._channel = open_channel(target, security)
        self._numbering = numbering_pb2_grpc.NumberingServiceStub(self._channel)
        self._check = check_pb2_grpc.CheckServiceStub(self._channel)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> "PushClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def list_operators(self) -> list[number_pb2.Operator]:
        """Every operator of the installation."""
        response = self._call(self._check.ListOperators, check_pb2.ListOperatorsRequest())
        return list(response.operators)

    def watch_identifications(
        self, operator_id: int, resume_token: str = ""
    ) -> Iterator[numbering_pb2.WatchIdentificationsResponse]:
        """Yield whom services identified on an operator's numbers, as it happens, until the node ends the stream."""
        request = numbering_pb2.WatchIdentificationsRequest(operator_id=operator_id, resume_token=resume_token)
        call = self._numbering.WatchIdentifications(request)
        try:
            yield from call
            return
        except grpc.RpcError as error:
            refusal = refusal_of(error, self._target, PushRefused)
            let_go(error)
        finally:
            call.cancel()
            del call  # see let_go
        raise refusal

    def state(self, operator_id: int, *, digest: bool = True) -> numbering_pb2.GetOperatorStateResponse:
        """Return the head of an operator's active set; of the portings, for operator 0. Without the digest it is
        cheap."""
        request = numbering_pb2.GetOperatorStateRequest(operator_id=operator_id, without_digest=not digest)
        response: numbering_pb2.GetOperatorStateResponse = self._call(self._numbering.GetOperatorState, request)
        return response

    def push_active(
        self, header: numbering_pb2.PushHeader, pieces: Callable[[], Iterable[Numbers]]
    ) -> numbering_pb2.PushActiveNumbersResponse:
        """Push active numbers. `pieces` is called for each try: one that is cut is begun anew, if it has a push_id."""
        request = numbering_pb2.PushActiveNumbersRequest

        def requests() -> Iterator[numbering_pb2.PushActiveNumbersRequest]:
            yield request(header=header)
            for piece in pieces():
                for add in _parts(piece.add):
                    yield request(add=add)
                for remove in _parts(piece.remove):
                    yield request(remove=remove)
                for ranges in _parts(piece.add_ranges, ROWS_PER_MESSAGE):
                    yield request(add_ranges=_range_messages(ranges))
                for ranges in _parts(piece.remove_ranges, ROWS_PER_MESSAGE):
                    yield request(remove_ranges=_range_messages(ranges))

        response: numbering_pb2.PushActiveNumbersResponse = self._push(
            "PushActiveNumbers", requests, repeatable=bool(header.push_id)
        )
        return response

    def confirm_push(self, operator_id: int, token: str) -> numbering_pb2.PushActiveNumbersResponse:
        """Apply a held push."""
        request = numbering_pb2.ConfirmPushRequest(operator_id=operator_id, confirmation_token=token)
        push: numbering_pb2.PushActiveNumbersResponse = self._call(self._numbering.ConfirmPush, request).push
        return push

    def reject_push(self, operator_id: int, token: str) -> None:
        """Drop a held push."""
        request = numbering_pb2.RejectHeldPushRequest(operator_id=operator_id, confirmation_token=token)
        self._call(self._numbering.RejectHeldPush, request)

    def list_held_pushes(self, operator_id: int = 0) -> list[numbering_pb2.HeldPush]:
        """Return the pushes of an operator that wait to be confirmed, the oldest first; every operator's, for operator
        0."""
        request = numbering_pb2.ListHeldPushesRequest(operator_id=operator_id)
        return list(self._call(self._numbering.ListHeldPushes, request).held_pushes)

    def push_portings(
        self, header: numbering_pb2.PortingsHeader, ported: Mapping[int, Sequence[int]], returned: Sequence[int]
    ) -> numbering_pb2.PushPortingsResponse:
        """Push portings: the numbers of each recipient, and those that returned."""
        request = numbering_pb2.PushPortingsRequest

        def requests() -> Iterator[numbering_pb2.PushPortingsRequest]:
            yield request(header=header)
            for operator_id, numbers in ported.items():
                for part in _parts(numbers):
                    yield request(ported=[numbering_pb2.PortedNumbers(operator_id=operator_id, numbers=part)])
            for part in _parts(returned):
                yield request(returned=part)

        response: numbering_pb2.PushPortingsResponse = self._push(
            "PushPortings", requests, repeatable=bool(header.push_id)
        )
        return response

    def import_plan(
        self, header: numbering_pb2.PlanHeader, rows: Sequence[numbering_pb2.PlanRow]
    ) -> numbering_pb2.ImportNumberingPlanResponse:
        """Replace the numbering plan, or the header's series of it. It may be repeated."""
        request = numbering_pb2.ImportNumberingPlanRequest

        def requests() -> Iterator[numbering_pb2.ImportNumberingPlanRequest]:
            yield request(header=header)
            for part in _parts(rows, ROWS_PER_MESSAGE):
                yield request(rows=part)

        response: numbering_pb2.ImportNumberingPlanResponse = self._push(
            "ImportNumberingPlan", requests, repeatable=True
        )
        return response

    def _push(self, method: str, requests: Callable[[], Iterator[Any]], *, repeatable: bool) -> Any:
        return self._patience.call(lambda: self._upload(method, requests()), repeatable=repeatable)

    def _upload(self, method: str, requests: Iterator[Any]) -> Any:
        with open_channel(self._target, self._security) as channel:
            upload = _Upload(channel, requests)
            try:
                # Blocking: the error of a call that is no blocking one is the call itself, and needs a lock to go. If
                # gRPC's thread has that lock while the interpreter ends, it never ends.
                return getattr(numbering_pb2_grpc.NumberingServiceStub(channel), method)(upload.requests())
            except grpc.RpcError:
                error = upload.error
                if error is None:
                    raise
        raise error

    def _call(self, method: Any, request: Any) -> Any:
        return self._patience.call(lambda: method(request, timeout=DEADLINE_S))


class _Upload:
    """The requests of a push, which a thread of gRPC's reads, and the channel that carries nothing else.

    If they fail, the channel is closed before they end: a cut stream changes nothing, while one that ends would be
    taken for whole.
    """

    def __init__(self, channel: grpc.Channel, requests: Iterator[Any]) -> None:
        self._channel, self._requests = channel, requests
        self.error: Exception | None = None

    def requests(self) -> Iterator[Any]:
        """Yield the requests; `error` is what they fail with."""
        try:
            yield from self._requests
        except Exception as error:
            self.error = error
            self._channel.close()


def _parts(items: Sequence[Any], size: int = NUMBERS_PER_MESSAGE) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _range_messages(ranges: Sequence[tuple[int, int]]) -> list[numbering_pb2.NumberRange]:
    return [numbering_pb2.NumberRange(first=first, last=last) for first, last in ranges]
