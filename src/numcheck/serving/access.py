"""Gives the rules of access what only a process has: the key of tokens and rows, who is known, and a log of denials.

Invariants: no call waits for the store to learn who makes it: a Directory has all that is known in memory, and looks
every few seconds whether it has changed; while the store does not answer, what was known last goes on counting. A set
of callers that is refused takes away whom it revokes, and gives nothing.
"""

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from numcheck.access import Caller
from numcheck.api.access import Access, Admission, LoopbackAccess, Shown
from numcheck.api.editions import CallersFile, callers_file, read_callers_file
from numcheck.config import Settings
from numcheck.door.loopback import knows_users
from numcheck.errors import BadKeys, NumcheckError
from numcheck.nearby import TOKEN_NAME
from numcheck.output import OWNER_READS, write_whole
from numcheck.serving.keys import COPIES
from numcheck.store import Callers, CallerSet, Denial, Store
from numcheck.store.callers import DENIALS_PER_CALLER_MAX, kept_name
from numcheck.worker import Worker

KEY_NAME = "token.key"
KEY_SIZE = 32
ROOT_UID = 0
REFRESH_INTERVAL_S = 5.0  # what another node has revoked, given or agreed holds that much later
WHOLE_INTERVAL_S = 15.0  # rows that were changed past numcheck are told of that much later
DENIALS_INTERVAL_S = 1.0  # the same denials within it are one line and one row
DENIALS_WAITING_MAX = 1_000  # different ones at once; more are counted and not kept

log = structlog.get_logger()


def token_key(data_dir: Path) -> bytes:
    """Return the installation's key of tokens and callers; BadKeys if it is missing or cannot be one.

    Nodes that share a database need the same file.
    """
    path = data_dir / KEY_NAME
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        raise BadKeys(f"{path} is missing: the callers cannot be read without it; {COPIES}") from None
    if len(key) != KEY_SIZE:
        raise BadKeys(f"{path} does not have the {KEY_SIZE} bytes of a key; restore your copy")
    return key


def installation_key(store: Store, data_dir: Path) -> bytes:
    """Return the same, made if there is nothing yet that lies under any; BadKeys if it is not the one of the store."""
    if _needs_no_key(store, data_dir):
        _make_key(data_dir)
    key = token_key(data_dir)
    check = _derived(key, b"numcheck check of the key of tokens")
    if (store.token_key_check or store.keep_token_key_check(check)) != check:
        raise BadKeys(f"{data_dir / KEY_NAME} is not the key that the store is used with; {COPIES}")
    return key


def stored_callers_of(store: Store, data_dir: Path) -> Callers:
    """Return the store's callers for a process that makes nothing: where nothing lies under a key yet, by no key."""
    return callers_of(store, bytes(KEY_SIZE) if _needs_no_key(store, data_dir) else token_key(data_dir))


def _needs_no_key(store: Store, data_dir: Path) -> bool:
    return not ((data_dir / KEY_NAME).exists() or store.token_key_check or store.has_callers)


def tag_key_of(key: bytes) -> bytes:
    """Return the key of the tags by which tokens are known. Followers have it too: it opens nothing."""
    return _derived(key, b"numcheck tags of tokens")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, purpose, hashlib.sha256).digest()


def _make_key(data_dir: Path) -> None:
    """Make a new key, durable when this returns. After a crash there is no file of that name, or all of it."""
    write_whole(data_dir / KEY_NAME, secrets.token_bytes(KEY_SIZE), mode=OWNER_READS)


def callers_of(store: Store, key: bytes) -> Callers:
    """Return the store's callers, their rows under a key that is made of the installation's."""
    return store.callers(_derived(key, b"numcheck rows of callers and agreements"))


class Known(NamedTuple):
    """Callers by the URI or the token that they show, and each service's agreements."""

    by_uri: Mapping[str, Caller] = {}
    by_token: Mapping[bytes, Caller] = {}
    agreements: Mapping[str, frozenset[int]] = {}
    identifying: Mapping[int, frozenset[str]] = {}
    """Services that tell each operator of the users whom they identified."""

    def find(self, uri: str, token_tag: bytes | None) -> Caller | None:
        """Return the caller of the URI if it is known, or else of the token; None if nobody's."""
        if uri in self.by_uri:
            return self.by_uri[uri]
        return None if token_tag is None else self.by_token.get(token_tag)

    def agreed(self, service: str) -> frozenset[int]:
        """Return the operators that a service has agreements with."""
        return self.agreements.get(service, frozenset())


class Directory:
    """The known callers, in memory. Methods may be called from any thread; only `refresh` waits."""

    def __init__(self, callers: Callers, *, interval_s: float = REFRESH_INTERVAL_S) -> None:
        """Read it for the first time; raises what reading the store raises."""
        self._callers, self._interval_s = callers, interval_s
        self._turn = threading.Lock()
        self._damaged: list[str] = []
        self._stale = False
        self._marks: object = None
        self.refused = ""
        """Why the set of the store lets in nobody new; empty if it does."""
        self.revision = 0
        """Of the newest set that was not refused; it is told outside of the installation, by metrics."""
        self._known = Known()
        self._subscribers: list[Callable[[], None]] = []
        self._read_at = self._whole_at = 0.0
        self._read()
        self._worker = Worker("directory", self._follow, "callers are not followed", first_s=interval_s)
        self._worker.start()

    def find(self, uri: str, token_tag: bytes | None) -> Caller | None:
        """Return the caller of the URI if it is known, or else of the token; None if nobody's."""
        return self._known.find(uri, token_tag)

    def agreed(self, service: str) -> frozenset[int]:
        """Return the operators that a service has agreements with."""
        return self._known.agreed(service)

    def identifying(self, operator_id: int) -> frozenset[str]:
        """Return the services that tell an operator of the users whom they identified (E.4)."""
        return self._known.identifying.get(operator_id, frozenset())

    def try_agreed(self, service: str) -> frozenset[int] | None:
        """Return the same; None, which is all of them, for a service of which no agreement is recorded."""
        return self._known.agreements.get(service)

    def published(self, tag_key: bytes) -> bytes:
        """Return the callers as followers get them."""
        known, tags = self._known, {caller.uri: tag for tag, caller in self._known.by_token.items()}
        callers = [(one, tags.get(uri)) for uri, one in known.by_uri.items()]
        agreements = [(service, one) for service, some in known.agreements.items() for one in some]
        return callers_file(CallersFile(callers, agreements, tag_key, self.revision))

    def subscribe(self, call: Callable[[], None]) -> None:
        """Have `call` run whenever somebody may call who could not, or the other way round."""
        self._subscribers.append(call)

    def refresh(self) -> None:
        """Take what the store has now; if it cannot be read, what was known goes on counting, and the log says so."""
        with self._turn:
            try:
                self._read()
            except NumcheckError as error:
                if not self._stale and not getattr(error, "told", False):
                    log.error("the callers cannot be read: those known last count", error=type(error).__name__)
                self._stale = True
                return
            if self._stale:
                log.info("the callers are read again")
            self._stale = False

    @property
    def age_s(self) -> float:
        """Age of the directory: seconds since it was read from the store."""
        return time.monotonic() - self._read_at

    def close(self) -> None:
        """End the thread that follows the store."""
        self._worker.stop()

    def _follow(self) -> float:
        self.refresh()
        return self._interval_s

    def _read(self) -> None:
        """Read all that is known if it has changed, and now and then anyway."""
        marks, now_s = self._callers.marks(), time.monotonic()
        if marks != self._marks or now_s >= self._whole_at + WHOLE_INTERVAL_S:
            self._take(self._callers.all())
            self._marks, self._whole_at = marks, now_s
        self._read_at = now_s

    def _take(self, found: CallerSet) -> None:
        if found.damaged != self._damaged:
            log.error("callers or agreements are not as they were written and count for nothing", of=found.damaged)
        if found.refused != self.refused and found.refused:
            log.error("the callers of the store are refused: nobody new is let in", reason=found.refused)
        elif self.refused and not found.refused:
            log.warning("the callers of the store count again", revision=found.revision)
        self._damaged, self.refused = found.damaged, found.refused
        self.revision = self.revision if found.refused else found.revision
        before, self._known = self._known, _without_revoked(self._known, found) if found.refused else _known(found)
        self._remember()
        if self._known != before:
            for call in self._subscribers:
                call()

    def _remember(self) -> None:
        try:
            self._callers.remember(now=datetime.now(UTC))
        except (NumcheckError, OSError) as error:
            log.error("the newest set of callers cannot be noted outside of the store", error=type(error).__name__)


def _without_revoked(known: Known, found: CallerSet) -> Known:
    """Return what was known, without whom the store has revoked since: that alone can be believed of a set that is
    refused."""
    revoked = {one.caller.uri for one in found.callers if one.revoked_at is not None}
    return known._replace(
        by_uri={uri: one for uri, one in known.by_uri.items() if uri not in revoked},
        by_token={tag: one for tag, one in known.by_token.items() if one.uri not in revoked},
    )


def _known(found: CallerSet) -> Known:
    living = [(one.caller, one.token_tag) for one in found.callers if one.revoked_at is None]
    identifying: dict[int, set[str]] = defaultdict(set)
    for service, operator_id in found.identifying:
        identifying[operator_id].add(service)
    return _known_of(living, found.agreements)._replace(
        identifying={operator_id: frozenset(services) for operator_id, services in identifying.items()}
    )


def _known_of(callers: Iterable[tuple[Caller, bytes | None]], agreements: Iterable[tuple[str, int]]) -> Known:
    living, agreed = list(callers), defaultdict[str, set[int]](set)
    for service, operator_id in agreements:
        agreed[service].add(operator_id)
    return Known(
        {one.uri: one for one, _ in living},
        {tag: one for one, tag in living if tag is not None},
        {service: frozenset(operator_ids) for service, operator_ids in agreed.items()},
    )


class FollowedCallers:
    """The callers of a follower: those of its newest edition. Methods may be called from any thread."""

    def __init__(self, deny: Callable[[str, str, str, str], None]) -> None:
        self._deny, self._known, self.revision = deny, Known(), 0
        self._access = self._access_by(b"")

    def take(self, content: bytes) -> None:
        """Go by an edition's file of callers from now on; EditionRefused if it is none."""
        file = read_callers_file(content)
        self._known, self.revision = _known_of(file.callers, file.agreements), file.revision
        self._access = self._access_by(file.tag_key)

    def _access_by(self, tag_key: bytes) -> Access:
        return Access(self._known.find, self._known.agreed, self._deny, token_key=tag_key)

    # --- Admission

    def agreed(self, service: str) -> frozenset[int]:
        """Return the operators that a service has agreements with."""
        return self._known.agreed(service)

    def admit(self, shown: Shown, method: str) -> Caller:
        """Return the caller; NotAuthenticated, NotPermitted or UnknownMethod, and a denial, if they may not call."""
        return self._access.admit(shown, method)

    def deny(self, uri: str, method: str, reason: str) -> None:
        """Note that a call was denied."""
        self._access.deny(uri, method, reason)


class DenialLog:
    """Logs denials, and has them kept, from a thread of its own; the same ones together, with their count."""

    def __init__(
        self, keep: Callable[[list[Denial]], None] = lambda _some: None, *, interval_s: float = DENIALS_INTERVAL_S
    ) -> None:
        """`keep` keeps some of them in the store; a follower has none."""
        self._keep_some, self._interval_s = keep, interval_s
        self._lock, self._keeping = threading.Lock(), threading.Lock()
        self._some, self._closed = threading.Event(), threading.Event()
        self._waiting: dict[tuple[str, str, str, str], tuple[datetime, int]] = {}
        self._waiting_by: Counter[str] = Counter()  # different ones, by address
        self._dropped_count = 0
        self._thread = threading.Thread(target=self._keep, name="denials", daemon=True)
        self._thread.start()

    def add(self, uri: str, method: str, reason: str, address: str = "") -> None:
        """Note a denial; returns at once. An address has so much room, and leaves the others theirs."""
        key = kept_name(uri), address, method, reason
        with self._lock:
            _, count = self._waiting.get(key, (None, 0))
            if not count and not self._has_room(address):
                self._dropped_count += 1
            else:
                self._waiting_by[address] += not count
                self._waiting[key] = datetime.now(UTC), count + 1
        self._some.set()

    def _has_room(self, address: str) -> bool:
        own_max = DENIALS_PER_CALLER_MAX if address else DENIALS_WAITING_MAX
        return self._waiting_by[address] < own_max and len(self._waiting) < DENIALS_WAITING_MAX

    def flush(self) -> None:
        """Log and keep what waits; what was noted before this is kept when it returns."""
        with self._keeping:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._waiting_by.clear()
            dropped_count, self._dropped_count = self._dropped_count, 0
        some = [
            Denial(last, uri, method, reason, count, address)
            for (uri, address, method, reason), (last, count) in waiting.items()
        ]
        for one in some:
            log.warning(
                "call denied",
                caller=one.uri,
                address=one.address,
                method=one.method,
                reason=one.reason,
                times=one.count,
            )
        if dropped_count:
            log.error("denials are not kept: too many different ones at once", times=dropped_count)
        try:
            if some:
                self._keep_some(some)
        except NumcheckError as error:
            log.error("denials cannot be kept", error=type(error).__name__, times=sum(one.count for one in some))

    def close(self) -> None:
        """End when what waits is kept."""
        self._closed.set()
        self._some.set()
        self._thread.join()
        self.flush()

    def _keep(self) -> None:
        while not self._closed.is_set():
            self._some.wait()
            self._some.clear()
            self.flush()
            self._closed.wait(self._interval_s)


class AccessControl:
    """All that a node knows of who may call, from construction to `close`."""

    def __init__(self, store: Store, data_dir: Path) -> None:
        """Read who is known; BadKeys, or what reading the store raises."""
        key = installation_key(store, data_dir)
        self.key, self.callers = tag_key_of(key), callers_of(store, key)
        self.directory, self.denials = Directory(self.callers), DenialLog(store.record_denials)
        self.access = Access(self.directory.find, self.directory.agreed, self.denials.add, token_key=self.key)

    def admission(self, settings: Settings) -> Admission:
        """Return what says who may call: over TLS, by what callers show; in plaintext, by whose process calls."""
        if settings.tls:
            return self.access
        return loopback_access(settings, self.denials.add)

    def close(self) -> None:
        """End its threads, when what was denied is kept."""
        self.directory.close()
        self.denials.close()


def loopback_access(settings: Settings, deny: Callable[[str, str, str], None]) -> LoopbackAccess:
    """Return the access rule for plaintext: every user who could read the data directory or, if so set, every user of
    this machine. If the system does not tell one user from another, a token in the directory does."""
    if settings.plaintext_callers == "everyone":
        return LoopbackAccess(deny=deny)
    if not knows_users():
        return LoopbackAccess(deny=deny, token=_make_loopback_token(settings.data_dir))
    return LoopbackAccess(frozenset({ROOT_UID, os.geteuid(), settings.data_dir.stat().st_uid}), deny=deny)


def _make_loopback_token(data_dir: Path) -> str:
    """Return a token of this process, which is in its file when this returns."""
    token = secrets.token_urlsafe()
    write_whole(data_dir / TOKEN_NAME, token.encode("ascii"), mode=OWNER_READS)
    return token
