"""A client of CheckService for asyncio."""

from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import Any

import grpc

from numcheck import e164
from numcheck.client.batching import Checked, CheckedNumber, TaskBatches
from numcheck.client.channel import PLAINTEXT, Security, open_aio_channel
from numcheck.client.check import DEADLINE_S
from numcheck.client.failures import failure_of
from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2


class AsyncCheckClient:
    """Asks one node, or several in turn, from the tasks of one event loop.

    Methods raise NodeUnreachable, with the node's own words where it has some, or NodeNotReady if it is there and
    repeating the call can help. gRPC has repeated it already, twice.
    """

    def __init__(self, target: str, security: Security = PLAINTEXT, *, default_region: str = "RU") -> None:
        """Make a client of the node at `target`, as `open_channel` has it; nothing is connected yet.

        `default_region` is the country (ISO 3166) of texts without one.
        """
        self._target, self._default_region = target, default_region
        self._channel = open_aio_channel(target, security)
        self._stub: Any = check_pb2_grpc.CheckServiceStub(self._channel)
        self._batches = TaskBatches(self.check_numbers)

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
        return self._batches.check(number, min_index_version)

    async def check_numbers(self, numbers: Sequence[int], min_index_version: int = 0) -> Checked:
        """Return the answer to one batch, of up to 65,536 numbers unless the node is set up otherwise."""
        request = check_pb2.CheckNumbersRequest(numbers=numbers, min_index_version=min_index_version)
        response = await self._call(self._stub.CheckNumbers, request)
        return Checked(response.statuses, response.operator_ids, response.index_version)

    async def check_number(self, text: str) -> check_pb2.CheckNumberResponse:
        """Ask for one number, as a person writes it, with everything that the node knows of it."""
        request = check_pb2.CheckNumberRequest(number=text)
        response: check_pb2.CheckNumberResponse = await self._call(self._stub.CheckNumber, request)
        return response

    async def list_operators(self) -> list[number_pb2.Operator]:
        """Return every operator of the installation."""
        response = await self._call(self._stub.ListOperators, check_pb2.ListOperatorsRequest())
        return list(response.operators)

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise failure_of(error, self._target) from None
