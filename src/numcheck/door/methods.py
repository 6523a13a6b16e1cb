"""What a door serves: each method's path, what goes over its stream, how it runs, and the function that answers it.

A service gives its functions by name (`methods`). What they get and give depends on how they run:

    quick, waiting   (request, call) -> response; of a stream of requests (requests, call) -> response
    each             (request, call) -> response, for each request of a stream
    watch            (request) -> message: what its newest state is, told whenever that is another
    feed             (request, call) -> Feed: what has happened, without a gap

`call` says until when the caller waits, and whether they are still there (CallerWaits).
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from google.protobuf.descriptor_pool import Default


class Runs(StrEnum):
    """How a method runs."""

    QUICK = "quick"
    """By a few threads that take all calls that wait: it never waits for anybody but the store."""
    WAITING = "waiting"
    """By a thread of its own out of a bounded pool: it waits for a commit, an operator, a gateway or its caller."""
    EACH = "each"
    """As QUICK, each message of a stream for itself: between two of them there is nothing but the stream."""
    WATCH = "watch"
    """Without a thread: woken when something may have changed."""
    FEED = "feed"
    """The same, and at the pace at which its caller takes what it is sent."""


class Method(NamedTuple):
    """A row of a door's table."""

    path: str
    runs: Runs
    streams_requests: bool
    streams_answers: bool
    answer: Callable[..., Any]

    @property
    def kind(self) -> str:
        """What goes over its stream, as the native door names it (_edge.KINDS)."""
        if self.runs is Runs.EACH:
            return "each"
        return "requests" if self.streams_requests else "answers" if self.streams_answers else "unary"


class Service(Protocol):
    """What a door serves."""

    @property
    def name(self) -> str:
        """The name in its .proto file, whose descriptor is loaded."""

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""


_RUNS = {
    "/numcheck.v1.CheckService/CheckNumber": Runs.QUICK,
    "/numcheck.v1.CheckService/CheckNumbers": Runs.QUICK,
    "/numcheck.v1.CheckService/StreamCheckNumbers": Runs.EACH,
    "/numcheck.v1.CheckService/ListOperators": Runs.QUICK,
    "/numcheck.v1.NumberingService/ListHeldPushes": Runs.QUICK,
    "/numcheck.v1.NumberingService/WatchIndex": Runs.WATCH,
    "/numcheck.v1.RegistrationService/GetRegistration": Runs.QUICK,
    "/numcheck.v1.RegistrationService/ListRegistrations": Runs.QUICK,
    "/numcheck.v1.RegistrationService/ReverifyRegistrations": Runs.FEED,
    "/numcheck.v1.RegistrationService/WatchRegistrations": Runs.FEED,
    "/numcheck.v1.CallerService/ListCallers": Runs.QUICK,
    "/grpc.health.v1.Health/Check": Runs.QUICK,
    "/grpc.health.v1.Health/Watch": Runs.WATCH,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Runs.EACH,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Runs.EACH,
}
"""How methods run that do not wait: every other one is WAITING."""


def methods_of(services: Iterable[Service]) -> dict[str, Method]:
    """Return the services' methods, by path."""
    return {method.path: method for service in services for method in _methods_of(service)}


def _methods_of(service: Service) -> Iterable[Method]:
    declared = Default().FindServiceByName(service.name).methods_by_name
    for name, answer in service.methods().items():
        path, method = f"/{service.name}/{name}", declared[name]
        runs = _RUNS.get(path, Runs.WAITING)
        yield Method(path, runs, method.client_streaming, method.server_streaming, answer)
