"""Hands the signed head of the chain to a witness again and again, so that a restored old copy shows by itself (R13).
Of the nodes of a database one does.

Invariants: a head is handed out only if the chain has the newest one that the witness has; so what the witness holds
stays as it is once the chain is another. A witness that cannot be reached keeps nobody from being served.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.config import Settings
from numcheck.delivery.posting import SUCCESSES, Poster
from numcheck.delivery.requests import JSON, Request
from numcheck.errors import BadConfiguration, DeliveryFailed, EventsAltered
from numcheck.hosts import is_loopback
from numcheck.moments import microseconds
from numcheck.plain_files import NotPlain, descriptor_of_plain
from numcheck.registrations.events import SignedHead, check_signature, head_fields, head_of, sign_newest
from numcheck.serving.sharing import Sharing
from numcheck.store.events import EventLog
from numcheck.worker import Worker

CONFLICT = 409  # what a witness answers that has a head which this one does not follow
TAIL_SIZE = 65_536  # bytes at the end of the file in which its newest head is looked for

log = structlog.get_logger()


class Witness:
    """Hands out heads from `start` to `stop`: to a file, a URL, or both; to nobody where the settings name neither."""

    def __init__(
        self,
        events: EventLog,
        signing_key: Ed25519PrivateKey,
        settings: Settings,
        sharing: Sharing,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._events, self._signing_key, self._now = events, signing_key, now
        self._file, self._url = settings.witness_file, settings.witness_url
        self._interval_s = float(settings.witness_interval_s)
        by_proxy = settings.use_proxy and not is_loopback(urlsplit(self._url or "").hostname or "")
        self._poster = Poster(use_proxy=by_proxy) if self._url else None
        self._posted: int | None = None
        self.agrees: bool | None = None
        """False once the witness has a head that the chain does not; None before it was asked, and where another node
        asks it."""
        self._duty = sharing.duty("witness") if self._file or self._url else None
        self._worker = Worker("witness", self._work, "the head is not handed to the witness", retry_s=60.0)
        if self._duty is not None:
            self._duty.on_taken = self._worker.wake

    def start(self) -> None:
        """Begin, if there is a witness."""
        if self._duty is not None:
            self._worker.start()

    def stop(self) -> None:
        """Hand out nothing more."""
        self._worker.stop()
        if self._poster is not None:
            self._poster.close()

    def _work(self) -> float:
        if self._duty is not None and self._duty.held:
            self.look()
        else:
            self.agrees = None
        return self._interval_s

    def look(self) -> None:
        """Compare the chain with what the witness has, and hand out its head if that is a newer one."""
        head = self._head()
        agrees = self._told_to_file(head) if self._file else True
        agrees = (self._told_to_url(head) if self._url else True) and agrees
        if not agrees and self.agrees is not False:
            log.error(
                "the witness has a head that the chain of events does not have: an old copy was restored, or the "
                "history was rewritten; nothing is handed to it",
                event_count=head.sequence,
            )
        self.agrees = agrees

    def _head(self) -> SignedHead:
        return sign_newest(self._signing_key, self._events.try_head(), microseconds(self._now()))

    def _told_to_file(self, head: SignedHead) -> bool:
        """Append the head to the file, if it is newer; False, and nothing is appended, if it does not follow."""
        assert self._file is not None
        known = newest_head(self._file)
        if known is not None and not self._has(known):
            return False
        if known is None or known.sequence < head.sequence:
            _append(self._file, orjson.dumps(head_fields(head)) + b"\n")
        return True

    def _has(self, known: SignedHead) -> bool:
        """Return True if the chain has the event that a head is of."""
        if known.public_key != self._signing_key.public_key().public_bytes_raw():
            return False
        if known.sequence == 0:
            return True
        return [row.hash for row in self._events.after(known.sequence - 1, count_max=1)] == [known.hash]

    def _told_to_url(self, head: SignedHead) -> bool:
        """Post the head, if it is newer than what was posted; False if the witness answers that it does not follow."""
        assert self._poster is not None
        assert self._url is not None
        if self._posted == head.sequence:
            return self.agrees is not False
        body = json.dumps(head_fields(head)).encode()
        reply = self._poster.send(Request("POST", self._url, {"content-type": JSON}, body))
        if reply.status == CONFLICT:
            return False
        if reply.status not in SUCCESSES:
            raise DeliveryFailed(f"the witness answers {reply.status}")
        self._posted = head.sequence
        return True


def newest_head(file: Path) -> SignedHead | None:
    """Return the newest head in a witness' file; None if there is none yet. A line that is no signed head, such as
    the half that a crash left, does not count. BadConfiguration if it is no plain file."""
    try:
        with _opened(file, os.O_RDONLY) as descriptor:
            size = os.fstat(descriptor).st_size
            lines = os.pread(descriptor, TAIL_SIZE, max(size - TAIL_SIZE, 0)).split(b"\n")
    except FileNotFoundError:
        return None
    heads = filter(None, map(_try_read, lines))
    return max(heads, key=lambda one: one.sequence, default=None)


def _try_read(line: bytes) -> SignedHead | None:
    try:
        head = head_of(orjson.loads(line))
        check_signature(head)
    except (ValueError, EventsAltered):
        return None
    return None if head.service else head


def _append(file: Path, line: bytes) -> None:
    """Append a line, durably; behind a line without an end, on one of its own."""
    with _opened(file, os.O_RDWR | os.O_CREAT | os.O_APPEND) as descriptor:
        size = os.fstat(descriptor).st_size
        unended = size and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if unended else b"") + line)
        os.fsync(descriptor)


@contextmanager
def _opened(file: Path, flags: int) -> Iterator[int]:
    """Open the witness' file, whose disk is somebody else's: of a pipe nobody would ever see the end."""
    try:
        descriptor = descriptor_of_plain(file, flags)
    except NotPlain:
        raise BadConfiguration(f"witness_file: {file} is no plain file") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
