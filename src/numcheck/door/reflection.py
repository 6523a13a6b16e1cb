"""The services grpc.reflection.v1 and v1alpha, which differ only in the package's name.

On the plain door each stream keeps a thread, so there are few, on threads of their own, and an idle stream is ended.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import Default
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import DESCRIPTOR, ServerReflectionRequest

from numcheck.api.calls import CallerWaits, parsed
from numcheck.api.slots import Slots
from numcheck.deadline import Deadline
from numcheck.door.patience import Patience, give_back
from numcheck.door.refusing import refusing_stream

NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
STREAMS_MAX = 8
IDLE_TIMEOUT_S = 10.0


class Described:
    """Answers requests about the descriptors of services."""

    def __init__(self, services: tuple[str, ...]) -> None:
        """List these services, whose descriptors are loaded."""
        _load_v1()
        self._official = reflection.ReflectionServicer((*services, *NAMES))

    def answer(self, request: bytes, _call: CallerWaits) -> bytes:
        """Answer one request."""
        asked = parsed(ServerReflectionRequest, request)
        nobody: Any = None  # it does not look at the context
        answers: Iterator[Any] = self._official.ServerReflectionInfo(iter([asked]), nobody)
        answer: bytes = next(answers).SerializeToString()
        return answer


class ReflectionService(NamedTuple):
    """One of the two services, which give the same answers."""

    name: str
    described: Described

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of its method, by name."""
        return {"ServerReflectionInfo": self.described.answer}


class Reflection:
    """Reflection of the plain door."""

    def __init__(self, services: tuple[str, ...], patience: Patience) -> None:
        """List these services, whose descriptors are loaded."""
        self._described = Described(services)
        self._patience = patience
        self._slots = Slots(STREAMS_MAX, STREAMS_MAX)
        # More threads than slots, so that one stream too many is refused at once and does not wait.
        self._threads = ThreadPoolExecutor(2 * STREAMS_MAX, thread_name_prefix="reflection")

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return both services as grpcio registers them."""
        stream = refusing_stream(self._answer_all)
        stream.experimental_thread_pool = self._threads  # type: ignore[attr-defined]
        methods: dict[str, Any] = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(stream)}
        return [grpc.method_handlers_generic_handler(name, methods) for name in NAMES]

    def close(self, deadline: Deadline) -> None:
        """Give the threads back, once the listener has stopped."""
        give_back(self._threads, deadline=deadline)

    def _answer_all(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with self._slots.take(""):
            while (request := self._next(requests, context)) is not None:
                yield self._described.answer(request, context)

    def _next(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes | None:
        with self._patience.at_most(IDLE_TIMEOUT_S, context.cancel):
            return next(requests, None)


def _load_v1() -> None:
    """Make the descriptors of v1 from those of v1alpha: no Python package has them."""
    file = descriptor_pb2.FileDescriptorProto()
    DESCRIPTOR.CopyToProto(file)
    file.ClearField("options")
    file.name, file.package = "grpc/reflection/v1/reflection.proto", "grpc.reflection.v1"
    for field in _typed(file):
        for attribute in ("type_name", "input_type", "output_type"):
            if getattr(field, attribute, ""):
                setattr(field, attribute, getattr(field, attribute).replace(".v1alpha.", ".v1."))
    Default().AddSerializedFile(file.SerializeToString())  # the same again changes nothing


def _typed(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Any]:
    """Yield everything in a file that names a type: fields and methods."""
    for message in file.message_type:
        yield from message.field
    for service in file.service:
        yield from service.method
