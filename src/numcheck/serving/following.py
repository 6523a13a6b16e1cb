"""Follows editions: takes each newer one from whichever source has it, and has the follower answer from it.

Invariants: nothing is used that the installation's key has not signed, or whose hash is not the one that was signed;
versions only rise, and an edition that was signed before the one in use changes nothing; what is in use stays so
whatever a source does, and none keeps the others from being asked: who is slow, silent or late is left. On disk after a
crash: the edition in use before or after, with all of its files.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from numcheck.config import Settings
from numcheck.errors import EditionRefused, IndexDamaged, IndexNotReady, NumcheckError, SourceFailed
from numcheck.index import Index, PublishedIndex, map_index
from numcheck.index.edition import CALLERS_NAME, Edition, read_edition
from numcheck.index.format import MANIFEST_NAME
from numcheck.index.shelf import Shelf
from numcheck.moments import CLOCK_SKEW_MAX, microseconds, microseconds_of, moment
from numcheck.serving.access import FollowedCallers
from numcheck.serving.freshness import Publisher, fresh_since
from numcheck.serving.sources import SILENCE_MAX_S, Source
from numcheck.worker import Worker

PAUSE_S = 0.1  # before the first source is asked again, twice as long each time that none was of use, up to
PAUSE_MAX_S = 2.0
AGE_INTERVAL_S = 0.5
PACE_AFTER_S = 20.0  # of fetching an edition's files: then a source
PACE_MIN = 65_536  # that has sent fewer bytes a second is left
KEPT_EVERY_S = 60.0  # an edition of the same files is kept on disk so often

log = structlog.get_logger()


@dataclass(slots=True)
class SourceState:
    """The state of a source: `problem` says why it was left last, empty while it is followed."""

    name: str
    problem: str = "not asked yet"
    followed: bool = False  # it has told something new since it was asked last


class Following:
    """The editions that a follower has, from `start` to `stop`. Editions and files may be read from any thread."""

    def __init__(
        self,
        sources: Sequence[Source],
        shelf: Shelf,
        published: PublishedIndex,
        callers: FollowedCallers,
        settings: Settings,
        changed: Callable[[], None],
    ) -> None:
        """Take what the shelf has; EditionRefused if that is signed by another key than the settings'. `changed` is
        called whenever there is a newer edition."""
        self._sources, self._shelf, self._published, self._callers = sources, shelf, published, callers
        self._settings, self._changed, self._publisher = settings, changed, Publisher(published, settings)
        self._key = None if settings.publisher_key is None else bytes.fromhex(settings.publisher_key)
        self.states = [SourceState(source.name) for source in sources]
        self._turn, self._pause_s, self._kept_at = 0, PAUSE_S / 2, time.monotonic()
        self._signed: bytes | None = None
        self._edition: Edition | None = None
        self._index: Index | None = None
        self._shown: Index | None = None  # the one that was published last
        self._told_version = 0
        self._worker = Worker("following", self._work, "editions cannot be followed", retry_s=PAUSE_S)
        self._age_worker = Worker("edition-age", self._judge_age, "the age of the edition is not looked at")
        self._begin()

    def _begin(self) -> None:
        signed = self._shelf.try_edition()
        if signed is None:
            return
        edition = self._read(signed)
        try:
            self._use(signed, edition)
        except (IndexDamaged, OSError) as error:
            log.error("the edition on disk cannot be used: it is fetched anew", reason=str(error))
            self._shelf.discard(edition)

    def start(self) -> None:
        """Begin to ask the sources."""
        self._publisher.start()
        self._age_worker.start()
        self._worker.start()

    def stop(self) -> None:
        """Ask nobody any more."""
        for source in self._sources:
            source.close()
        for one in (self._worker, self._age_worker, self._publisher):
            one.stop()

    # --- what is known

    def newest(self) -> bytes:
        """Return the edition in use, signed; IndexNotReady if there is none yet."""
        if self._signed is None:
            raise IndexNotReady("this follower has no edition yet")
        return self._signed

    def read(self, sha256: bytes, offset: int, size: int) -> bytes:
        """Return a piece of a file of the last editions; UnknownFile if there is none of that hash."""
        return self._shelf.read(sha256, offset, size)

    @property
    def edition(self) -> Edition | None:
        """The edition in use."""
        return self._edition

    @property
    def age_s(self) -> float | None:
        """Seconds since the node knew that nothing was newer than the edition in use; None without one."""
        return None if self._edition is None else _seconds_since(self._edition.current_at_us)

    @property
    def lag(self) -> int | None:
        """How many versions the index in use is behind the newest that a source told of; None without one."""
        return None if self._index is None else max(self._told_version - self._index.index_version, 0)

    @property
    def is_too_old(self) -> bool:
        """True if the edition in use is older than the settings let this follower answer from."""
        age_s, bound_s = self.age_s, self._settings.follow_age_max_s
        return age_s is not None and bool(bound_s) and age_s > bound_s

    # --- the sources

    def _work(self) -> float:
        """Follow a source until it fails; return for how long to rest before the next one."""
        state, source = self.states[self._turn], self._sources[self._turn]
        try:
            self._follow(source, state)
        except (NumcheckError, OSError) as error:
            self._leave(state, str(error))
        finally:
            state.followed = False
        self._turn = (self._turn + 1) % len(self._sources)
        if self._turn:
            return 0.0
        self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
        return self._pause_s

    def _leave(self, state: SourceState, problem: str) -> None:
        if state.problem != problem:
            log.warning("a source was left", source=state.name, problem=problem)
        state.problem = problem

    def _follow(self, source: Source, state: SourceState) -> None:
        news_at = time.monotonic()
        for signed in source.editions():
            if self._take(signed, source):
                if self._is_late():
                    raise SourceFailed("its newest edition was signed long ago")
                news_at, state.followed, state.problem = time.monotonic(), True, ""
                self._pause_s = PAUSE_S / 2
            elif time.monotonic() > news_at + SILENCE_MAX_S:
                raise SourceFailed("it tells nothing new")
        raise SourceFailed("it tells nothing more")

    def _take(self, signed: bytes, source: Source) -> bool:
        """Use an edition from now on; False if it is no newer than the one in use."""
        edition = self._read(signed)
        if not self._is_newer(edition):
            return False
        self._told_version = max(self._told_version, edition.index_version)
        pace = _Pace()
        self._shelf.fetch(edition, lambda sha256, offset: self._piece(source, sha256, offset, pace))
        is_other = self._edition is None or edition.files != self._edition.files
        self._use(signed, edition)
        if is_other or time.monotonic() > self._kept_at + KEPT_EVERY_S:
            self._shelf.keep(signed, edition)
            self._kept_at = time.monotonic()
        return True

    def _is_late(self) -> bool:
        """Return True if the edition in use was signed before what clocks can differ by: others may have newer ones."""
        assert self._edition is not None
        return _seconds_since(self._edition.signed_at_us) > SILENCE_MAX_S + CLOCK_SKEW_MAX.total_seconds()

    def _piece(self, source: Source, sha256: bytes, offset: int, pace: "_Pace") -> bytes:
        piece = source.piece(sha256, offset)
        pace.check(len(piece))
        self._pause_s = PAUSE_S / 2  # a source that cuts each fetch is asked again soon
        return piece

    def _read(self, signed: bytes) -> Edition:
        """Return an edition of the known key; the first key that signs one is known from then on."""
        edition, key = read_edition(signed, self._key)
        if edition.signed_at_us > microseconds(datetime.now(UTC)) + microseconds_of(CLOCK_SKEW_MAX):
            raise EditionRefused("the edition is signed later than now: one of the clocks is wrong")
        if self._edition is not None and edition.installation_id != self._edition.installation_id:
            raise EditionRefused("the edition is of another installation")
        if self._key is None:
            log.info("editions are taken that are signed by the first key that was met", publisher_key=key.hex())
        self._key = key
        return edition

    def _is_newer(self, edition: Edition) -> bool:
        if self._edition is None:
            return True
        if edition.signed_at_us <= self._edition.signed_at_us:
            return False
        # A version that was withdrawn is not taken back.
        is_withdrawn = not self._edition.files and bool(edition.files)
        return edition.index_version >= self._edition.index_version + is_withdrawn

    # --- what is in use

    def _use(self, signed: bytes, edition: Edition) -> None:
        """Answer from an edition, whose files are there; IndexDamaged or EditionRefused, and nothing has changed, if
        that cannot be."""
        before = self._edition
        if edition.files and (before is None or edition.files != before.files):
            index = self._mapped(edition, before)
            if before is None or not before.files or _callers_of(edition) != _callers_of(before):
                self._callers.take(self._shelf.path(_callers_of(edition)).read_bytes())
            self._index = index
        elif not edition.files:
            self._index = None
            self._published.skip(edition.index_version)
            if before is None or before.files:
                log.error("the installation has lost history: nothing is answered until the index is built anew")
        self._signed, self._edition = signed, edition
        self._show()
        self._changed()

    def _mapped(self, edition: Edition, before: Edition | None) -> Index:
        """Return the index of an edition: the one in use, if it is that of the edition before."""
        is_same = before is not None and before.files and _manifest_of(edition) == _manifest_of(before)
        if self._index is not None and is_same:
            return self._index
        index = map_index(self._shelf.path_of(edition), previous=self._index)
        if (index.installation_id, index.index_version) != (edition.installation_id, edition.index_version):
            raise EditionRefused("the index is not the one that the edition speaks of")
        return index

    def _show(self) -> None:
        """Have the node answer from the index in use, unless that is too old; and again, once there is news."""
        index = self._index
        if index is None:
            return
        if self.is_too_old:
            self._published.pause()
        elif self._published.try_get() is None or self._shown is not index:
            freshness = fresh_since(self._settings, datetime.now(UTC))
            self._publisher.publish(index if freshness is None else index.with_freshness(freshness))
            self._shown = index
            log.info("index published", index_version=index.index_version)

    def _judge_age(self) -> float:
        if self.is_too_old and self._published.try_get() is not None:
            log.error("there was no news for too long: nothing is answered any more", age_s=round(self.age_s or 0))
            self._published.pause()
        return AGE_INTERVAL_S


class _Pace:
    """The pace at which a source sends an edition's files."""

    def __init__(self) -> None:
        self._begun_at, self._size = time.monotonic(), 0

    def check(self, size: int) -> None:
        """Count what has come; SourceFailed if it comes too slowly. What is there is gone on with by the next one."""
        self._size += size
        age_s = time.monotonic() - self._begun_at
        if age_s > PACE_AFTER_S and self._size < PACE_MIN * age_s:
            raise SourceFailed("it sends too slowly")


def _manifest_of(edition: Edition) -> bytes:
    return edition.hash_of(MANIFEST_NAME)


def _callers_of(edition: Edition) -> bytes:
    return edition.hash_of(CALLERS_NAME)


def _seconds_since(moment_us: int) -> float:
    return max((datetime.now(UTC) - moment(moment_us)).total_seconds(), 0.0)
