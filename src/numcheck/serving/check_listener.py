"""The native listener: CheckService and health on event loops that need no GIL, beside the API listener."""

import socket
import sys
import threading

from numcheck.config import Settings
from numcheck.errors import BadListenAddress
from numcheck.index import Index, PublishedIndex
from numcheck.rpc.check import CheckService
from numcheck.rpc.native import Answer, NativeAnswers
from numcheck.serving.listener import host_and_port, probe_port

LACKING: str | None = None
"""Why this build has no native listener; None if it has."""

try:
    from numcheck._edge import METHODS, EdgeLoop
except ImportError:
    LACKING = "this build has no native listener: " + (
        "apt install libnghttp2-dev zlib1g-dev, then build anew"
        if sys.platform.startswith("linux")
        else "it needs Linux's epoll"
    )

BACKLOG = 1_024


class CheckListener:
    """Serves from construction to `stop`. Health says NOT_SERVING until `set_serving`."""

    name = "native listener"

    def __init__(self, settings: Settings, published: PublishedIndex) -> None:
        """Open the listener; BadListenAddress if that cannot be. Only where LACKING is None."""
        host, port = host_and_port(settings.check_listen)
        check = CheckService(
            published,
            default_region=settings.default_region,
            numbers_per_call_max=settings.numbers_per_call_max,
            # A stream holds no thread here; only a message that is refused passes through.
            stream_count_max=settings.threads,
        )
        self._answers = NativeAnswers(check)
        sockets = _listening_sockets(host, port, settings.threads)
        self.address = f"{host}:{sockets[0].getsockname()[1]}"
        self._loops = [self._loop(listening, settings) for listening in sockets]
        self._index: Index | None = None
        published.follow(self._publish)
        self._threads = [
            threading.Thread(target=loop.run, name=f"check-{i}", daemon=True) for i, loop in enumerate(self._loops)
        ]
        for thread in self._threads:
            thread.start()

    def _loop(self, listening: socket.socket, settings: Settings) -> "EdgeLoop":
        return EdgeLoop(
            self._answer,
            listen_fd=listening.detach(),
            message_size_max=settings.message_size_max,
            metadata_size_max=settings.metadata_size_max,
            numbers_per_call_max=settings.numbers_per_call_max,
            streams_per_connection_max=settings.streams_per_connection_max,
            connection_age_max_s=settings.connection_age_max_s,
            drain_timeout_s=settings.drain_timeout_s,
        )

    def _answer(self, method: int, request: bytes) -> Answer:
        return self._answers.answer(METHODS[method], request)

    def _publish(self, index: Index | None) -> None:
        self._index = index
        for loop in self._loops:
            loop.publish(None if index is None else index.table)

    def set_serving(self, *, serving: bool) -> None:
        """Say on the health service, for the node and for each service, whether it answers."""
        self._answers.serving = serving
        self._publish(self._index)

    @property
    def call_count(self) -> int:
        """How many messages were answered."""
        return sum(loop.call_count for loop in self._loops)

    def stop(self, drain_timeout_s: float) -> None:
        """Take no more connections, wait for the calls under way, and end those that are not done by then."""
        self.set_serving(serving=False)
        for loop in self._loops:
            loop.stop()
        for thread in self._threads:
            thread.join(drain_timeout_s + 1)


def _listening_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """As many sockets on one port: the kernel spreads connections over them."""
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
