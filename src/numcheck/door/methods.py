"""The methods that a door serves: path, kind of stream, how each runs, and the function that answers it.

A service has its functions by name (`methods`). Their arguments and results depend on how a method runs:

    quick, waiting   (request, call) -> response; of a stream of requests (requests, call) -> response
    lookup, grouped  (request, call) -> Steps, which return the response
    each             (request, call) -> response, for each request of a stream
    exchange         (requests, call) -> an iterator of responses
    watch            (request) -> message: returns the newest state, which is sent whenever it differs
    feed             (request, call) -> Feed: every event, without a gap

`call` tells until when the caller waits, and if they are still there (CallerWaits).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from google.protobuf.descriptor_pool import Default

from numcheck.access import METHODS, Runs
from numcheck.door.tracing import traced

NO_SUCH_METHOD = "this node has no such method"


class Method(NamedTuple):
    """A method that a door serves."""

    path: str
    runs: Runs
    streams_requests: bool
    streams_answers: bool
    answer: Callable[..., Any]

    @property
    def kind(self) -> str:
        """The kind of its stream, by the native door's name (_edge.KINDS)."""
        if self.runs is Runs.EACH:
            return "each"
        return "requests" if self.streams_requests else "answers" if self.streams_answers else "unary"

    @property
    def service(self) -> str:
        """The name of its service."""
        return self.path[1:].rpartition("/")[0]


class Service(Protocol):
    """A service that a door serves."""

    @property
    def name(self) -> str:
        """Its full name in the .proto file, whose descriptor is loaded."""

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """Return the function of each method, by its name."""


def methods_of(services: Iterable[Service]) -> dict[str, Method]:
    """Return the services' methods, by path."""
    return {method.path: method for service in services for method in _methods_of(service)}


def _methods_of(service: Service) -> Iterable[Method]:
    declared = Default().FindServiceByName(service.name).methods_by_name
    for name, answer in service.methods().items():
        path, method = f"/{service.name}/{name}", declared[name]
        runs = METHODS[path].runs
        yield Method(path, runs, method.client_streaming, method.server_streaming, traced(path, runs, answer))
