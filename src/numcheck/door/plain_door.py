"""The plain door: grpcio's thread-pool server, where a build has no native door."""

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

from numcheck.api import callers
from numcheck.api.access import Admission, LoopbackAccess, Shown
from numcheck.api.asking import AllowanceOf
from numcheck.config import Settings
from numcheck.deadline import LAST_WAIT_S, Deadline
from numcheck.door.counting import CallCounter
from numcheck.door.draining import Draining
from numcheck.door.feeds import Feeds
from numcheck.door.guard import AccessInterceptor, authorizations_of, shown_over_tls
from numcheck.door.health import Health
from numcheck.door.lateness import Lateness
from numcheck.door.loopback import knows_users, user_of_grpc_peer
from numcheck.door.methods import Service, methods_of
from numcheck.door.patience import Patience, give_back
from numcheck.door.plain_methods import PlainMethods
from numcheck.door.process import share_for_connections
from numcheck.door.reflection import NAMES as REFLECTION
from numcheck.door.reflection import Reflection
from numcheck.door.requests import RequestReader
from numcheck.door.tls import server_credentials
from numcheck.door.watches import Watches
from numcheck.errors import BadListenAddress
from numcheck.hosts import is_loopback

PLAINTEXT = "plaintext, loopback only: root and the owner of the data directory are administrators"
BY_LOOPBACK_TOKEN = "plaintext, loopback only: who can read loopback.token of the data directory is administrator"
OPEN = "plaintext, loopback only: EVERY USER of this machine is the administrator"
OPEN_WARNING = (
    "WARNING: every user of this machine is the administrator, as the listeners speak plaintext and "
    "plaintext_callers does not keep them out"
)
PROTECTED = "TLS, client certificates required"
BY_TOKEN = "TLS, bearer tokens required"
KEPT_THREADS = 2  # for CallerService, and for health, each: the threads of the others may all be busy
NOTICE_S = 0.1  # for which new calls wait before the connections are told to go away
CONNECTIONS_MAX = 8_192
HANDSHAKE_TIMEOUT_S = 10.0  # up to the peer's SETTINGS
IDLE_TIMEOUT_S = 30.0  # a connection with no call under way; grpcio does not tell a stranger's from others
KEEPALIVE_S = 20.0  # a peer that has been silent for so long is pinged, and has as long to answer


class PlainDoor:
    """Serves from construction to `stop`. Health says NOT_SERVING until `set_serving`."""

    name = "plain"

    def __init__(
        self,
        settings: Settings,
        services: Sequence[Service],
        watches: Watches,
        admission: Admission | None = None,
        *,
        feeds: Feeds | None = None,
        allowance_of: AllowanceOf = lambda _caller: None,
    ) -> None:
        """Open the listener; BadListenAddress if that cannot be. `watches` end with it; `feeds` are another's to end.

        `admission` says who may call. In plaintext, on loopback, it may be left out: then everybody may.
        `allowance_of` says what callers may ask about: they are told when it nears its end.
        """
        if admission is None and settings.tls:
            raise ValueError("over TLS somebody has to find out who calls")
        host, port = host_and_port(settings.listen, anywhere=settings.tls)
        self._credentials = server_credentials(settings) if settings.tls else None
        self.protection = protection_of(settings)
        names = [service.name for service in services]
        self._patience = Patience()
        self._reflection = Reflection((*names, Health.name), self._patience)
        self._counter, self._draining = CallCounter([*names, Health.name, *REFLECTION]), Draining()
        self._threads = ThreadPoolExecutor(settings.api_threads, thread_name_prefix="api")
        self._kept = {
            name: ThreadPoolExecutor(KEPT_THREADS, thread_name_prefix=f"api-{name}")
            for name in (callers.SERVICE_NAME, Health.name)
        }
        show = shown_over_tls if settings.tls else self._shown
        guard = AccessInterceptor(admission or LoopbackAccess(), show, allowance_of)
        reader = RequestReader(self._patience, self._kept, threads=settings.api_threads, kept_threads=KEPT_THREADS)
        self._server = grpc.server(
            self._threads,
            interceptors=[self._counter, Lateness(reader), self._draining, guard, reader],
            options=server_options(settings),
            maximum_concurrent_rpcs=settings.concurrent_rpcs_max,
        )
        self._watches = watches
        self._health = Health(("", *names), watches.notify)
        self._methods = PlainMethods(
            [*methods_of([*services, self._health]).values()],
            watches,
            feeds or Feeds(),
            self._patience,
            stream_count_max=max(settings.api_threads // 2, 1),
        )
        self._server.add_generic_rpc_handlers([*self._reflection.handlers(), self._methods])
        self.address = f"{host}:{self._open_port(host, port)}"
        self._server.start()

    def say_of_others(self, words: str) -> None:
        """Say this to whoever calls a method that is not served."""
        self._methods.unknown = words

    def _shown(self, context: grpc.ServicerContext) -> Shown:
        """Return a call's credentials; the peer's owner is sought anew, as grpcio hides the ends of connections."""
        return Shown("", authorizations_of(context), user_of_grpc_peer(context.peer(), self.address))

    def _open_port(self, host: str, port: int) -> int:
        probe_port(host, port)
        try:
            if self._credentials is not None:
                return self._server.add_secure_port(f"{host}:{port}", self._credentials)
            return self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            raise BadListenAddress(f"{host}:{port} cannot be listened on") from None

    def set_serving(self, *, serving: bool) -> None:
        """Set the health of the node and of each service."""
        self._health.set_serving(serving=serving)

    def call_counts(self) -> dict[tuple[str, str], int]:
        """Return how many calls have ended, by method and status."""
        return self._counter.counts()

    def stop(self, drain_timeout_s: float) -> None:
        """Refuse further calls, wait for those under way, and end those that are not done by then.

        A thread that cannot be ended is left behind LAST_WAIT_S later.
        """
        deadline = Deadline(drain_timeout_s + LAST_WAIT_S)
        self._health.set_serving(serving=False)
        self._draining.begin()
        self._watches.end()
        time.sleep(min(NOTICE_S, drain_timeout_s))
        stopped = self._server.stop(drain_timeout_s)
        self._draining.leave()
        stopped.wait(deadline.left_s)
        self._watches.close(deadline)
        self._reflection.close(deadline)
        self._patience.close()
        give_back(self._threads, *self._kept.values(), deadline=deadline)


def protection_of(settings: Settings) -> str:
    """Return in a few words who is let in."""
    if not settings.tls:
        if settings.plaintext_callers == "everyone":
            return OPEN
        return PLAINTEXT if knows_users() else BY_LOOPBACK_TOKEN
    return BY_TOKEN if settings.tls_clients == "token" else PROTECTED


def warning_of(settings: Settings) -> str | None:
    """Return a warning about who is let in; None if there is none."""
    return OPEN_WARNING if protection_of(settings) == OPEN else None


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """Return grpcio's options; docs/limits.md tells what a caller sees of each."""
    return [
        # By default grpcio shares a port that another process listens on.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.message_size_max),
        ("grpc.max_metadata_size", settings.metadata_size_max),
        ("grpc.absolute_max_metadata_size", settings.metadata_size_max),
        ("grpc.max_concurrent_streams", settings.streams_per_connection_max),
        # It counts a call that has ended until Python has let go of it, and so refuses the next of a client that keeps
        # to the bound. What a rapid reset leaves behind is bounded all the same, by the calls that wait for a thread.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_allowed_incoming_connections", min(CONNECTIONS_MAX, share_for_connections(loops=1))),
        ("grpc.server_handshake_timeout_ms", int(1_000 * HANDSHAKE_TIMEOUT_S)),
        ("grpc.max_connection_idle_ms", int(1_000 * IDLE_TIMEOUT_S)),
        ("grpc.max_connection_age_ms", 1_000 * settings.connection_age_max_s),
        ("grpc.max_connection_age_grace_ms", 1_000 * settings.drain_timeout_s),
        # A client may ping every 30 s, with or without calls; the third ping that comes sooner ends its connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 2),
        # A peer that was stopped, or is gone, would keep the slots of its watches until its connection is aged out.
        ("grpc.keepalive_time_ms", int(1_000 * KEEPALIVE_S)),
        ("grpc.keepalive_timeout_ms", int(1_000 * KEEPALIVE_S)),
        ("grpc.http2.ping_timeout_ms", int(1_000 * KEEPALIVE_S)),  # counts too: its default is a minute
        ("grpc.http2.max_pings_without_data", 0),
    ]


def check_address(settings: Settings) -> None:
    """Raise BadListenAddress if the listener cannot be opened now; called before anything is made for it."""
    probe_port(*host_and_port(settings.listen, anywhere=settings.tls))


def host_and_port(address: str, *, anywhere: bool = False) -> tuple[str, int]:
    """Split host:port. Calls in plaintext stay on this machine: another host is refused unless it may be `anywhere`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise BadListenAddress(f"{address!r} is not host:port, such as 127.0.0.1:50051")
    if (":" in host) != (host[:1] == "[" and host[-1:] == "]") or "[" in host[1:] or "]" in host[:-1]:
        raise BadListenAddress(f"{address!r}: an IPv6 address, and no other, stands in brackets, such as [::1]:50051")
    if not anywhere and not is_loopback(host):
        raise BadListenAddress(f"{host} is not a loopback address; this node serves plaintext, on loopback only")
    return host, int(port)


def probe_port(host: str, port: int) -> None:
    """Raise BadListenAddress, with the system's reason, if the port cannot be bound; grpcio does not pass it on."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BadListenAddress(f"{host}:{port} cannot be listened on: {reason}") from None
