"""Sources that a follower gets editions from: a node, another follower, or a directory that a node publishes to.

What comes from a source is bytes and nothing more: `following.py` checks all of it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from numcheck.api.editions import PIECE_SIZE, SERVICE_NAME
from numcheck.errors import SourceFailed, UnknownFile
from numcheck.index.shelf import Shelf
from numcheck.serving.editions import SIGNED_EVERY_S
from numcheck.v1 import edition_pb2

SILENCE_MAX_S = 3 * SIGNED_EVERY_S  # then another source is asked
PIECE_TIMEOUT_S = 10.0
CLOSED = "it is asked nothing more"  # grpcio's ValueError: the channel is closed
LOOK_INTERVAL_S = 0.25  # at the edition of a directory: nobody tells of a new one


class Source(Protocol):
    """A source of editions. `close` ends whatever waits, from any thread."""

    name: str

    def editions(self) -> Iterator[bytes]:
        """Yield the newest edition, and each newer one as it comes; SourceFailed."""

    def piece(self, sha256: bytes, offset: int) -> bytes:
        """Return the next bytes of a file; SourceFailed, or UnknownFile if it has none of that hash."""

    def close(self) -> None:
        """Ask it nothing more."""


class _Newest:
    """The newest message of a stream, which a thread of its own reads: those before it are dropped."""

    def __init__(self, call: Any) -> None:
        self._call, self._changed = call, threading.Condition()
        self._message: bytes | None = None
        self._problem = ""
        threading.Thread(target=self._read, name="editions-read", daemon=True).start()

    def _read(self) -> None:
        problem = "it ended the call"
        try:
            for message in self._call:
                self._put(message, "")
        except grpc.RpcError as error:
            problem = _problem(error)
        self._put(None, problem)

    def _put(self, message: bytes | None, problem: str) -> None:
        with self._changed:
            self._message, self._problem = message or self._message, problem
            self._changed.notify()

    def take(self, timeout_s: float) -> bytes:
        """Return the newest message, once; SourceFailed at the end, or if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._message or self._problem, timeout_s)
            message, self._message = self._message, None
            if message is None:
                raise SourceFailed(self._problem or f"it was silent for {timeout_s:.0f} s")
            return message


class NodeSource:
    """A node or a follower, over the API."""

    def __init__(self, name: str, channel: grpc.Channel) -> None:
        """Ask over the channel, which ends with this."""
        self.name, self._channel = name, channel
        # Editions are taken as bytes: they are passed on as they came.
        self._watch: Any = channel.unary_stream(f"/{SERVICE_NAME}/WatchEditions")
        self._fetch: Any = channel.unary_unary(f"/{SERVICE_NAME}/FetchFile")

    def editions(self) -> Iterator[bytes]:
        """Yield what the source tells, until it ends the call or is silent for SILENCE_MAX_S."""
        try:
            call: Any = self._watch(edition_pb2.WatchEditionsRequest().SerializeToString())
        except ValueError:
            raise SourceFailed(CLOSED) from None
        newest = _Newest(call)
        try:
            while True:
                yield newest.take(SILENCE_MAX_S)
        finally:
            call.cancel()

    def piece(self, sha256: bytes, offset: int) -> bytes:
        """Return the next bytes of a file."""
        request = edition_pb2.FetchFileRequest(sha256=sha256, offset=offset).SerializeToString()
        try:
            response = edition_pb2.FetchFileResponse.FromString(self._fetch(request, timeout=PIECE_TIMEOUT_S))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise UnknownFile("the source has no such file any more") from None
            raise SourceFailed(_problem(error)) from None
        except DecodeError:
            raise SourceFailed("its answer is not well-formed") from None
        except ValueError:
            raise SourceFailed(CLOSED) from None
        return response.content

    def close(self) -> None:
        """End the channel, and with it every call."""
        self._channel.close()


def _problem(error: grpc.RpcError) -> str:
    """Return in a few words why a call failed."""
    return f"{error.code().name}: {error.details() or 'no reason is given'}"


class DirectorySource:
    """A directory that a node publishes to, or the mount of what it is copied to."""

    def __init__(self, directory: Path) -> None:
        self.name, self._shelf, self._closed = str(directory), Shelf(directory, make=False), False

    def editions(self) -> Iterator[bytes]:
        """Yield the edition that is there, and each that takes its place, until none does for SILENCE_MAX_S."""
        told, told_at = b"", time.monotonic()
        while not self._closed and time.monotonic() < told_at + SILENCE_MAX_S:
            edition = self._shelf.try_edition()
            if edition is None:
                raise SourceFailed("there is no edition")
            if edition != told:
                told, told_at = edition, time.monotonic()
                yield edition
            time.sleep(LOOK_INTERVAL_S)
        raise SourceFailed("it has had nothing new for long")

    def piece(self, sha256: bytes, offset: int) -> bytes:
        """Return the next bytes of a file."""
        return self._shelf.read(sha256, offset, PIECE_SIZE)

    def close(self) -> None:
        """Look no more."""
        self._closed = True


def source_of(name: str, open_channel: Callable[[str], grpc.Channel]) -> Source:
    """Return the source of a name: a directory if there is one, or begins as a path does; else host:port."""
    path = Path(name)
    is_path = name.startswith(("/", "./", "../")) or path.is_dir()
    return DirectorySource(path) if is_path else NodeSource(name, open_channel(name))
