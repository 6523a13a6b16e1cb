"""A client of CheckService for threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from numcheck import e164
from numcheck.client.batching import Checked, CheckedNumber, ThreadBatches
from numcheck.client.cache import AnswerCache, CachePolicy
from numcheck.client.channel import PLAINTEXT, Security, open_channel
from numcheck.client.failures import connection_ended, let_go, refusal_of
from numcheck.client.health import ABSENCES, HEALTH_DEADLINE_S, HEALTH_REQUEST, SERVING
from numcheck.errors import CheckRefused
from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2

BATCHES_AHEAD = 2  # the next batch is made while the node answers
DEADLINE_S = 10.0


class CheckClient:
    """Asks one node, or several in turn; any thread may call its methods.

    They raise CheckRefused with the node's reason, NodeNotReady if repeating the call can help, or NodeUnreachable.
    gRPC has repeated the call already, twice, where a node was away or not ready.
    """

    def __init__(
        self,
        target: str,
        security: Security = PLAINTEXT,
        *,
        default_region: str = "RU",
        cache: CachePolicy | None = None,
    ) -> None:
        """Make a client of the node at `target`, as `open_channel` has it; nothing is connected yet.

        `default_region` is the country (ISO 3166) of texts without one. `cache`: how long `check` keeps its answers.
        """
        self._target, self._default_region = target, default_region
        self._channel = open_channel(target, security)
        self._stub = check_pb2_grpc.CheckServiceStub(self._channel)
        self._health: Any = HealthStub(self._channel)
        self._cache = None if cache is None else AnswerCache(cache)
        self._batches = ThreadBatches(self.check_numbers if cache is None else self._ask_and_keep)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> "CheckClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_number(self, text: str) -> check_pb2.CheckNumberResponse:
        """Ask for one number, as a person writes it."""
        request = check_pb2.CheckNumberRequest(number=text)
        response: check_pb2.CheckNumberResponse = self._call(self._stub.CheckNumber, request)
        return response

    def check(self, number: int | str, *, min_index_version: int = 0) -> CheckedNumber:
        """Return the status of one number; checks of other threads at the same time share a call.

        A text is read here, as a person writes it: NotANumber if it cannot be, without a call. An index older than
        `min_index_version` is not asked: NodeNotReady if the node has none that is newer.
        """
        if isinstance(number, str):
            number = e164.parse(number, self._default_region)
        kept = None if self._cache is None else self._cache.try_get(number, min_index_version)
        return kept or self._batches.check(number, min_index_version)

    def check_numbers(self, numbers: Sequence[int], min_index_version: int = 0) -> Checked:
        """Return the answer to one batch, of up to 65,536 numbers unless the node is set up otherwise."""
        request = check_pb2.CheckNumbersRequest(numbers=numbers, min_index_version=min_index_version)
        response = self._call(self._stub.CheckNumbers, request)
        return Checked(response.statuses, response.operator_ids, response.index_version)

    def check_batches(self, batches: Iterable[Sequence[int]]) -> Iterator[Checked]:
        """Ask for each batch over a stream, yielding the answers in their order as they come, one for each.

        `batches` is read in the caller's thread, a few batches ahead, so that a node that is gone leaves no thread
        waiting inside of it. A node ends every connection in time (`connection_age_max_s`), and a stream with it: then
        the unanswered batches are asked for again over another one, as long as each stream answers something.
        """
        waiting, unanswered = iter(batches), deque[Sequence[int]]()
        while True:
            answered_count = 0
            try:
                for response in self._answers(waiting, unanswered):
                    answered_count += 1
                    yield Checked(response.statuses, response.operator_ids, response.index_version)
                return
            except grpc.RpcError as error:
                goes_on = answered_count and connection_ended(error)
                failure = refusal_of(error, self._target, CheckRefused)
                let_go(error)
            if not goes_on:
                raise failure

    def _answers(
        self, waiting: Iterator[Sequence[int]], unanswered: deque[Sequence[int]]
    ) -> Iterator[check_pb2.CheckNumbersResponse]:
        """Ask over one stream, first for what is unanswered; a batch is taken out of it when its answer has come."""
        requests: SimpleQueue[check_pb2.CheckNumbersRequest | None] = SimpleQueue()

        def ask(batch: Sequence[int]) -> None:
            requests.put(check_pb2.CheckNumbersRequest(numbers=batch))

        def ask_next() -> None:
            batch = next(waiting, None)
            if batch is None:
                requests.put(None)
            else:
                unanswered.append(batch)
                ask(batch)

        responses = self._stub.StreamCheckNumbers(iter(requests.get, None))
        try:
            for batch in unanswered:
                ask(batch)
            for _ in range(BATCHES_AHEAD - len(unanswered)):
                ask_next()
            for response in responses:
                unanswered.popleft()
                ask_next()
                yield response
        finally:
            requests.put(None)
            responses.cancel()

    def healthy(self) -> bool:
        """Return True if a node answers and serves checks; False if it has no index yet, stops, or is not there.

        CheckRefused if it is there and lets this client in for nothing.
        """
        try:
            return bool(self._health.Check(HEALTH_REQUEST, timeout=HEALTH_DEADLINE_S).status == SERVING)
        except grpc.RpcError as error:
            if error.code() not in ABSENCES:
                raise refusal_of(error, self._target, CheckRefused) from None
            return False

    def check_recycled(self, numbers: Sequence[int], since: Sequence[int]) -> Sequence[int]:
        """Return the RecycledStatus of each number since its moment, in seconds since 1970, or since one for all."""
        request = check_pb2.CheckRecycledRequest(numbers=numbers, since_unix_s=since)
        return list(self._call(self._stub.CheckRecycled, request).statuses)

    def list_operators(self) -> list[number_pb2.Operator]:
        """Return every operator of the installation."""
        return list(self._listed().operators)

    def installation_id(self) -> str:
        """Return which installation the node is of: operator ids and index versions of another mean something else."""
        return self._listed().installation_id

    def _listed(self) -> check_pb2.ListOperatorsResponse:
        request = check_pb2.ListOperatorsRequest()
        response: check_pb2.ListOperatorsResponse = self._call(self._stub.ListOperators, request)
        return response

    def _ask_and_keep(self, numbers: Sequence[int], min_index_version: int) -> Checked:
        """Make the call of a batch, and keep its answers."""
        assert self._cache is not None
        asked_at = self._cache.now()
        checked = self.check_numbers(numbers, min_index_version)
        self._cache.keep(numbers, checked, asked_at)
        return checked

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, CheckRefused) from None
