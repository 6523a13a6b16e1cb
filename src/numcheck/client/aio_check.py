"""A client of CheckService for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Sequence
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from numcheck import e164
from numcheck.client.batching import Checked, CheckedNumber, TaskBatches
from numcheck.client.cache import AnswerCache, CachePolicy
from numcheck.client.channel import PLAINTEXT, Security, open_aio_channel
from numcheck.client.check import BATCHES_AHEAD, DEADLINE_S
from numcheck.client.failures import connection_ended, refusal_of
from numcheck.client.health import ABSENCES, HEALTH_DEADLINE_S, HEALTH_REQUEST, SERVING
from numcheck.errors import CheckRefused
from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2

Batches = Iterable[Sequence[int]] | AsyncIterable[Sequence[int]]


class AsyncCheckClient:
    """Asks one node, or several in turn, from the tasks of one event loop: `CheckClient` with the same methods.

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
        self._channel = open_aio_channel(target, security)
        self._stub: Any = check_pb2_grpc.CheckServiceStub(self._channel)
        self._health: Any = HealthStub(self._channel)
        self._cache = None if cache is None else AnswerCache(cache)
        self._batches = TaskBatches(self.check_numbers if cache is None else self._ask_and_keep)

    async def close(self) -> None:
        """Wait for the answers to what was asked together, and close the connection."""
        await self._batches.drain()
        await self._channel.close()

    async def __aenter__(self) -> "AsyncCheckClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def check(self, number: int | str, *, min_index_version: int = 0) -> Awaitable[CheckedNumber]:
        """Return an awaitable of the status of one number; checks of other tasks at the same time share a call.

        A text is read here, as a person writes it: NotANumber if it cannot be, without a call. An index older than
        `min_index_version` is not asked: NodeNotReady if the node has none that is newer.
        """
        if isinstance(number, str):
            number = e164.parse(number, self._default_region)
        if self._cache is not None and (kept := self._cache.try_get(number, min_index_version)) is not None:
            answer = asyncio.get_running_loop().create_future()
            answer.set_result(kept)
            return answer
        return self._batches.check(number, min_index_version)

    async def check_numbers(self, numbers: Sequence[int], min_index_version: int = 0) -> Checked:
        """Return the answer to one batch, of up to 65,536 numbers unless the node is set up otherwise."""
        request = check_pb2.CheckNumbersRequest(numbers=numbers, min_index_version=min_index_version)
        response = await self._call(self._stub.CheckNumbers, request)
        return Checked(response.statuses, response.operator_ids, response.index_version)

    async def check_batches(self, batches: Batches) -> AsyncIterator[Checked]:
        """Ask for each batch over a stream, yielding the answers in their order as they come, one for each.

        `batches` is read a few batches ahead. A node ends every connection in time (`connection_age_max_s`), and a
        stream with it: then the unanswered batches are asked for again over another one, as long as each stream answers
        something.
        """
        waiting, unanswered = _each(batches), deque[Sequence[int]]()
        while True:
            answered_count = 0
            try:
                async for response in self._answers(waiting, unanswered):
                    answered_count += 1
                    yield Checked(response.statuses, response.operator_ids, response.index_version)
                return
            except grpc.RpcError as error:
                if not (answered_count and connection_ended(error)):
                    raise refusal_of(error, self._target, CheckRefused) from None

    async def check_number(self, text: str) -> check_pb2.CheckNumberResponse:
        """Ask for one number, as a person writes it, with everything that the node knows of it."""
        request = check_pb2.CheckNumberRequest(number=text)
        response: check_pb2.CheckNumberResponse = await self._call(self._stub.CheckNumber, request)
        return response

    async def check_recycled(self, numbers: Sequence[int], since: Sequence[int]) -> Sequence[int]:
        """Return the RecycledStatus of each number since its moment, in seconds since 1970, or since one for all."""
        request = check_pb2.CheckRecycledRequest(numbers=numbers, since_unix_s=since)
        response = await self._call(self._stub.CheckRecycled, request)
        return list(response.statuses)

    async def list_operators(self) -> list[number_pb2.Operator]:
        """Return every operator of the installation."""
        response = await self._call(self._stub.ListOperators, check_pb2.ListOperatorsRequest())
        return list(response.operators)

    async def installation_id(self) -> str:
        """Return which installation the node is of: operator ids and index versions of another mean something else."""
        response = await self._call(self._stub.ListOperators, check_pb2.ListOperatorsRequest())
        return str(response.installation_id)

    async def healthy(self) -> bool:
        """Return True if a node answers and serves checks; False if it has no index yet, stops, or is not there.

        CheckRefused if it is there and lets this client in for nothing.
        """
        try:
            answer = await self._health.Check(HEALTH_REQUEST, timeout=HEALTH_DEADLINE_S)
        except grpc.RpcError as error:
            if error.code() not in ABSENCES:
                raise refusal_of(error, self._target, CheckRefused) from None
            return False
        return bool(answer.status == SERVING)

    async def _ask_and_keep(self, numbers: Sequence[int], min_index_version: int) -> Checked:
        """Make the call of a batch, and keep its answers."""
        assert self._cache is not None
        asked_at = self._cache.now()
        checked = await self.check_numbers(numbers, min_index_version)
        self._cache.keep(numbers, checked, asked_at)
        return checked

    async def _answers(
        self, waiting: AsyncIterator[Sequence[int]], unanswered: deque[Sequence[int]]
    ) -> AsyncIterator[check_pb2.CheckNumbersResponse]:
        """Ask over one stream, first for what is unanswered; a batch is taken out of it when its answer has come."""
        requests: asyncio.Queue[check_pb2.CheckNumbersRequest | None] = asyncio.Queue()

        def ask(batch: Sequence[int]) -> None:
            requests.put_nowait(check_pb2.CheckNumbersRequest(numbers=batch))

        async def ask_next() -> None:
            batch = await anext(waiting, None)
            if batch is None:
                requests.put_nowait(None)
            else:
                unanswered.append(batch)
                ask(batch)

        call = self._stub.StreamCheckNumbers(_until_none(requests))
        try:
            for batch in unanswered:
                ask(batch)
            for _ in range(BATCHES_AHEAD - len(unanswered)):
                await ask_next()
            # Not call.read(): it passes over answers that are there already when the call has ended.
            async for response in call:
                unanswered.popleft()
                await ask_next()
                yield response
        finally:
            requests.put_nowait(None)  # gRPC's own task waits for it
            call.cancel()

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, CheckRefused) from None


async def _each(batches: Batches) -> AsyncIterator[Sequence[int]]:
    if isinstance(batches, AsyncIterable):
        async for batch in batches:
            yield batch
    else:
        for batch in batches:
            yield batch


async def _until_none(
    requests: "asyncio.Queue[check_pb2.CheckNumbersRequest | None]",
) -> AsyncIterator[check_pb2.CheckNumbersRequest]:
    while (request := await requests.get()) is not None:
        yield request
