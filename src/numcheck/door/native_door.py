"""The native door: every service on event loops that need no GIL."""

import socket
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from grpc_health.v1.health_pb2 import HealthCheckRequest

from numcheck import e164, spans
from numcheck.access import name_in
from numcheck.api import callers
from numcheck.api.access import Admission, CallersIndex, LoopbackAccess, Shown
from numcheck.api.asking import AllowanceOf
from numcheck.api.check import CheckService, operator_message
from numcheck.config import Settings
from numcheck.deadline import LAST_WAIT_S, Deadline, end_together
from numcheck.door.certificates import CertificateFiles
from numcheck.door.feeding import Feeding
from numcheck.door.feeds import Feeds
from numcheck.door.health import Health
from numcheck.door.loopback import user_of_socket
from numcheck.door.methods import NO_SUCH_METHOD, Method, Service, methods_of
from numcheck.door.native import Admitted, admitted, authorizations, ready_refusals
from numcheck.door.plain_door import host_and_port, probe_port, protection_of
from numcheck.door.pool import Pool
from numcheck.door.process import share_for_connections
from numcheck.door.reflection import NAMES as REFLECTION
from numcheck.door.reflection import Described, ReflectionService
from numcheck.door.turns import lane_of
from numcheck.door.watches import Watches
from numcheck.errors import BadListenAddress
from numcheck.index import Index, PublishedIndex

LACKING: str | None = None
"""The reason why this build has no native door; None if it has one."""

try:
    from numcheck._edge import NATIVE_PATHS, CallQueue, Counters, Credentials, EdgeLoop, Facts
except ImportError:
    LACKING = "this build has no native door: " + (
        "apt install libnghttp2-dev libssl-dev zlib1g-dev, then build anew"
        if sys.platform.startswith("linux")
        else "it needs Linux's epoll"
    )

BACKLOG = 1_024
CONNECTIONS_MAX = 8_192  # a loop
STALLED_AFTER_S = 60.0  # until a peer is cut off that takes no answers, or sends no more of a request
STRANGERS_FOR_S = 10.0  # until a connection is closed none of whose calls was admitted
WAITING_MAX_S = 5.0  # until a call is refused that Python has not begun
KEEPALIVE_S = 20.0  # of silence until a peer is pinged; it has as long to answer
KEPT = frozenset({callers.SERVICE_NAME, Health.name})  # services with threads of their own
ADMITTED_FOR_S = 30.0  # until a caller is judged anew: a revocation holds by then


class Served(NamedTuple):
    """The services of a listener, what notifies their watches and feeds, its words about any other method, and its
    socket, if that was handed to this process: else it is opened."""

    services: Sequence[Service]
    watches: Watches
    feeds: Feeds
    unknown: str = NO_SUCH_METHOD
    listening: socket.socket | None = None


class NativeDoor:
    """Serves from construction to `stop`. Health says NOT_SERVING until `set_serving`."""

    name = "native"

    def __init__(
        self,
        settings: Settings,
        published: PublishedIndex,
        admission: Admission | None = None,
        served: Served | None = None,
        *,
        allowance_of: AllowanceOf = lambda _caller: None,
        stalled_after_s: float = STALLED_AFTER_S,
    ) -> None:
        """Open the listener; BadListenAddress if that cannot be. Only where LACKING is None.

        `admission` decides who may call; without it, as in tests, everybody may, and sees everything. Without `served`
        only CheckService is served, from the published index. `allowance_of` gives the numbers that a caller may ask
        about.
        """
        self._tls_files = settings.tls_files
        credentials = Credentials(*self._tls_files) if self._tls_files else None
        self.protection = protection_of(settings)
        self._admission, self._allowance_of = admission or LoopbackAccess(), allowance_of
        seen = CallersIndex(published, self._admission.agreed)
        self._own: list[Watches | Feeds] = []
        if served is None:
            served = Served([_check_service(seen, settings)], Watches(), Feeds())
            self._own += served.watches, served.feeds
        services, watches, feeds, self._unknown, handed = served
        names = [service.name for service in services]
        self._feeding, self._health = Feeding(), Health(("", *names), watches.notify)
        watches.subscribe(self._feeding.notify_watches)
        feeds.subscribe(self._feeding.notify)
        described = Described((*names, Health.name))
        methods = methods_of([*services, self._health, *(ReflectionService(name, described) for name in REFLECTION)])
        self._paths = [*NATIVE_PATHS, *(path for path in methods if path not in NATIVE_PATHS)]
        self._table = [("", "unary", "quick"), *(self._row(methods[path]) for path in self._paths[1:])]
        self._health_requests = [HealthCheckRequest(service=name).SerializeToString() for name in ("", *names)]
        self._queue = CallQueue(calls_max=settings.concurrent_rpcs_max)
        self._pool = Pool(
            self._queue,
            methods,
            self._admission,
            self._feeding,
            waiting_threads=settings.api_threads,
            kept=KEPT,
        )
        self._stalled_after_s = stalled_after_s
        self.address, sockets = _sockets_of(settings) if handed is None else _shared(handed, settings.threads)
        self._loops = [self._loop(listening, credentials, settings) for listening in sockets]
        published.subscribe(self._publish)
        self._threads = [
            threading.Thread(target=loop.run, name=f"check-{i}", daemon=True) for i, loop in enumerate(self._loops)
        ]
        for thread in self._threads:
            thread.start()
        self._certificates = CertificateFiles(self._tls_files, self._show_new_certificate) if self._tls_files else None

    def _loop(self, listening: socket.socket, credentials: "Credentials | None", settings: Settings) -> "EdgeLoop":
        return EdgeLoop(
            self._queue,
            self._table,
            self._admit,
            credentials,
            listen_fd=listening.detach(),
            message_size_max=settings.message_size_max,
            metadata_size_max=settings.metadata_size_max,
            numbers_per_call_max=settings.numbers_per_call_max,
            streams_per_connection_max=settings.streams_per_connection_max,
            connection_age_max_s=settings.connection_age_max_s,
            drain_timeout_s=settings.drain_timeout_s,
            admitted_for_s=ADMITTED_FOR_S,
            connections_max=min(CONNECTIONS_MAX, share_for_connections(loops=settings.threads)),
            stalled_after_s=self._stalled_after_s,
            keepalive_s=KEEPALIVE_S,
            strangers_for_s=STRANGERS_FOR_S,
            waiting_max_s=WAITING_MAX_S,
            **ready_refusals(self._unknown),
            health_requests=self._health_requests,
            reader=e164.reader(settings.default_region),
            traces_per_second_max=settings.traces_per_second_max if spans.is_traced() else 0,
        )

    def _row(self, method: Method) -> tuple[str, str, str]:
        return method.path, method.kind, lane_of(method, KEPT)

    def _admit(self, certificate: bytes | None, descriptor: int, authorization: bytes, method: int) -> Admitted:
        if self._tls_files:
            shown = Shown("" if certificate is None else name_in(certificate), authorizations(authorization))
        else:
            shown = Shown("", authorizations(authorization), user_of_socket(descriptor))
        return admitted(self._admission, self._allowance_of, shown, self._paths[method])

    def _show_new_certificate(self) -> None:
        credentials = Credentials(*self._tls_files)
        for loop in self._loops:
            loop.publish_credentials(credentials)

    def _publish(self, index: Index | None) -> None:
        """Hand a new index to the loops. Only the published index calls this, one version after the other."""
        if index is None:
            for loop in self._loops:
                loop.publish(lambda _agreements: None, None)  # then the loop hands calls to Python, which refuses them
            return
        operators = {key: operator_message(one).SerializeToString() for key, one in index.operators.items()}
        facts = Facts(index.ranges, index.regions, operators)
        for loop in self._loops:
            loop.publish(lambda agreements: index.for_agreements(agreements).table, facts)

    def set_serving(self, *, serving: bool) -> None:
        """Set the health of the node and of each service."""
        self._health.set_serving(serving=serving)
        for loop in self._loops:
            loop.set_serving(serving)

    def counters(self) -> "list[Counters]":
        """Return each loop's counters."""
        return [loop.counters() for loop in self._loops]

    def asked(self) -> Counter[str]:
        """Return how many numbers each caller has asked about."""
        total: Counter[str] = Counter()
        for counters in self.counters():
            total.update({name: count for name, count in counters.asked.items() if count})
        return total

    @property
    def waits(self) -> dict[str, tuple[list[int], float]]:
        """How long calls have waited until Python began them, by lane: counts by BOUNDS_S, and the sum of seconds."""
        return self._queue.waits

    @property
    def held_size(self) -> int:
        """Bytes of memory that requests and answers take."""
        return sum(loop.held_size for loop in self._loops)

    @property
    def call_count(self) -> int:
        """Number of messages answered."""
        return sum(loop.call_count for loop in self._loops)

    def stop(self, drain_timeout_s: float) -> None:
        """Take no more connections, wait for the calls under way, and end those that are not done by then.

        A thread that cannot be ended is left behind LAST_WAIT_S later.
        """
        deadline = Deadline(drain_timeout_s + LAST_WAIT_S)
        self.set_serving(serving=False)
        self._feeding.end()
        for loop in self._loops:
            loop.stop()
        if self._certificates is not None:
            end_together(self._certificates.stop, deadline=deadline)
        deadline.join(*self._threads)
        self._pool.stop(deadline)
        self._feeding.close(deadline)
        for ended in self._own:
            ended.close()


def _check_service(published: CallersIndex, settings: Settings) -> CheckService:
    return CheckService(
        published, default_region=settings.default_region, numbers_per_call_max=settings.numbers_per_call_max
    )


def address_of(listening: socket.socket) -> str:
    """Return host:port of a socket."""
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if listening.family is socket.AF_INET6 else f"{host}:{port}"


def _shared(listening: socket.socket, count: int) -> tuple[str, list[socket.socket]]:
    """Return the address of a socket, and the same socket for each loop: whichever is awake accepts."""
    listening.setblocking(False)
    return address_of(listening), [listening.dup() for _ in range(count)]


def _sockets_of(settings: Settings) -> tuple[str, list[socket.socket]]:
    """Return the address of `listen`, and a socket for each loop: the kernel spreads connections over them."""
    host, port = host_and_port(settings.listen, anywhere=settings.tls)
    sockets = _listening_sockets(host, port, settings.threads)
    return f"{host}:{sockets[0].getsockname()[1]}", sockets


def _listening_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen on one port."""
    probe_port(host, port)
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_listening_socket(host, port))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise BadListenAddress(f"{host}:{port} cannot be listened on: {(error.strerror or '').lower()}") from None
    return sockets


def _listening_socket(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.setblocking(False)
    listening.bind((host.strip("[]"), port))
    listening.listen(BACKLOG)
    return listening
