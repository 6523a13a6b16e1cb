"""What a node knows of callers: its key, its directory in memory, and the log of denials."""

import threading
from datetime import UTC, datetime

import pytest

from numcheck.access import Caller
from numcheck.api.access import own_operator, own_service, this_caller
from numcheck.errors import BadKeys, NotAuthenticated, StoreUnavailable
from numcheck.serving import access
from numcheck.serving.access import AccessControl, DenialLog, Directory, installation_key
from numcheck.store import CallerSet, Denial, KnownCaller, Store
from tests.access.node import CALLERS, NOW

WAIT_S = 20.0


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as one:
        yield one


# --- outside of any call


@pytest.mark.parametrize(
    "ask", [this_caller, lambda: own_operator(1), lambda: own_operator(0), lambda: own_service("x")]
)
def test_nobody_calls_where_there_is_no_call(ask):
    """A rule that is asked on a thread that serves no call refuses: it does not take whoever it is for anybody."""
    raised: list[BaseException] = []

    def asked() -> None:
        try:
            ask()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=asked)
    thread.start()
    thread.join()
    assert [type(one) for one in raised] == [NotAuthenticated]


# --- the key


def test_key_is_made_once(store, tmp_path):
    first = installation_key(store, tmp_path)
    assert len(first) == 32
    assert installation_key(store, tmp_path) == first
    assert (tmp_path / "token.key").stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_key_of_another_length_is_refused(store, tmp_path, content):
    """An empty file is what a crash could have left."""
    (tmp_path / "token.key").write_bytes(content)
    with pytest.raises(BadKeys, match=r"token\.key"):
        installation_key(store, tmp_path)


def test_crash_before_the_key_is_durable_leaves_none(store, tmp_path, monkeypatch):
    """And the next start makes one."""

    def crash(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            installation_key(store, tmp_path)
    assert not (tmp_path / "token.key").exists()
    assert len(installation_key(store, tmp_path)) == 32


def test_key_that_is_lost_is_not_made_anew_over_callers(store, tmp_path):
    AccessControl(store, tmp_path).callers.add(CALLERS["messenger"], now=NOW)
    (tmp_path / "token.key").unlink()
    with pytest.raises(BadKeys, match="missing"):
        installation_key(store, tmp_path)


# --- the directory


class Source:
    """Callers as the test says, or an error."""

    def __init__(self, *callers: Caller, agreements: tuple[tuple[str, int], ...] = ()) -> None:
        known = [KnownCaller(one, None, NOW, None) for one in callers]
        self.found = CallerSet(known, list(agreements), [])
        self.error: Exception | None = None
        self.read = threading.Semaphore(0)

    def marks(self) -> object:
        return object()

    def remember(self, *, now: datetime) -> None:
        assert now.tzinfo is not None

    def all(self) -> CallerSet:
        self.read.release()
        if self.error is not None:
            raise self.error
        return self.found


def test_directory_goes_on_with_what_was_known_while_the_store_is_away():
    """And takes what there is once it answers again: a revocation meanwhile holds from then on."""
    one = CALLERS["messenger"]
    source = Source(one, agreements=(("chat", 1),))
    directory = Directory(source, interval_s=3_600)  # type: ignore[arg-type]
    source.error = StoreUnavailable("away")
    directory.refresh()
    assert directory.find(one.uri, None) == one
    assert directory.agreed("chat") == {1}
    source.error, source.found = None, CallerSet([KnownCaller(one, None, NOW, NOW)], [], [])
    directory.refresh()
    assert directory.find(one.uri, None) is None
    assert (directory.agreed("chat"), directory.try_agreed("chat")) == (frozenset(), None)
    directory.close()


def test_directory_follows_the_store_by_itself():
    """What another node wrote is seen without a word from it, also after an outage."""
    one = CALLERS["messenger"]
    source = Source()
    directory = Directory(source, interval_s=0.01)  # type: ignore[arg-type]
    source.error = StoreUnavailable("away")
    for _ in range(3):
        assert source.read.acquire(timeout=WAIT_S)
    source.found, source.error = Source(one).found, None
    for _ in range(3):  # one may have begun before, the next has ended when the third begins
        assert source.read.acquire(timeout=WAIT_S)
    assert directory.find(one.uri, None) == one
    directory.close()


# --- denials


class Kept:
    """A store that keeps denials when the test lets it."""

    def __init__(self) -> None:
        self.transactions: list[list[Denial]] = []
        self.asked, self.goes_on = threading.Event(), threading.Event()

    def record_denials(self, some: list[Denial]) -> None:
        self.asked.set()
        assert self.goes_on.wait(WAIT_S)
        self.transactions.append(some)


def test_denials_are_kept_together_with_their_counts_and_too_many_are_dropped(monkeypatch):
    """While one transaction is under way the next ones collect: equal ones are one row, and the room has an end."""
    monkeypatch.setattr(access, "DENIALS_WAITING_MAX", 3)
    kept = Kept()
    log = DenialLog(kept.record_denials, interval_s=0)
    log.add("first", "/m", "NOT_PERMITTED")
    assert kept.asked.wait(WAIT_S)
    for _ in range(500):
        for uri in ("a", "b", "c", "too many", "too many as well"):
            log.add(uri, "/m", "NOT_PERMITTED")
    kept.goes_on.set()
    log.close()
    first, second = kept.transactions
    assert [(one.uri, one.count) for one in first] == [("first", 1)]
    assert [(one.uri, one.count) for one in second] == [("a", 500), ("b", 500), ("c", 500)]
    assert all(one.denied_at <= datetime.now(UTC) for one in second)
