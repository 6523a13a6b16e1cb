"""A follower takes what its node signed and nothing else, from whichever source has it, and keeps what it has."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from numcheck.access import Caller, Role
from numcheck.api.access import Shown, token_tag
from numcheck.api.editions import PIECE_SIZE, EditionService
from numcheck.errors import EditionRefused, NotAuthenticated, SourceFailed, UnknownFile
from numcheck.index.edition import Edition, read_edition, sign_edition
from numcheck.index.shelf import EDITIONS_KEPT, Shelf
from numcheck.moments import microseconds
from numcheck.serving.sources import DirectorySource
from numcheck.v1 import edition_pb2
from tests.serving import small
from tests.serving.editions import TAG_KEY, WAIT_S, Follows, Origin, Tells, follows, origin_in, until

FIRST = 79160000000
METHOD = "/numcheck.v1.CheckService/CheckNumbers"
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.fill(tmp_path_factory.mktemp("filled") / "node")


@pytest.fixture
def origin(filled: Path, tmp_path: Path) -> Iterator[Origin]:
    with origin_in(shutil.copytree(filled, tmp_path / "node")) as one:
        yield one


def statuses(follower: Follows, *numbers: int) -> list[tuple[int, int]]:
    table = follower.published.get().table
    return [table.check(number) for number in numbers]


ASKED = [*range(FIRST - 3, FIRST + 40), small.ACTIVE, small.UNALLOCATED, small.UNKNOWN, small.NOT_MOBILE, small.FOREIGN]


def test_follower_answers_as_its_node_does_and_takes_each_version(origin, tmp_path):
    with follows(tmp_path / "f", Tells(origin)) as follower:
        for numbers in ([FIRST], [FIRST + 1, FIRST + 7], range(FIRST, FIRST + 30)):
            version = origin.push(*numbers)
            until(lambda version=version: follower.version == version)
            assert statuses(follower, *ASKED) == [origin.index.table.check(number) for number in ASKED]


def test_only_files_that_changed_are_fetched(origin, tmp_path):
    """Of a change of one number the manifest, the directory and the changed pages come, each once; the rest stays."""
    source = Tells(origin)
    with follows(tmp_path / "f", source) as follower:
        until(lambda: follower.version)
        before = {file.sha256 for file in origin.edition().files}
        source.asked.clear()
        version = origin.push(FIRST + 5)
        until(lambda: follower.version == version)
        changed = [file for file in origin.edition().files if file.sha256 not in before]
        assert {file.name.partition("-")[0] for file in changed} <= {"manifest.json", "directory", "pages", "record"}
        pieces = {(file.sha256, offset) for file in changed for offset in range(0, file.size, PIECE_SIZE)}
        assert sorted(source.asked) == sorted(pieces)


def signed_by(key: Ed25519PrivateKey, **changes: Any) -> Callable[[bytes], bytes]:
    """Signs an edition anew, with changes."""
    return lambda signed: sign_edition(replace(read_edition(signed, None)[0], **changes), key)


def flipped(signed: bytes) -> bytes:
    return signed[:20] + bytes([signed[20] ^ 1]) + signed[21:]


def of_later(signed: bytes, key: Ed25519PrivateKey) -> bytes:
    edition = read_edition(signed, None)[0]
    return sign_edition(replace(edition, signed_at_us=edition.signed_at_us + HOUR_US), key)


def test_edition_that_is_not_as_its_node_signed_it_changes_nothing(origin, tmp_path):
    """A source that lies is left, and the next one is asked: of another key, changed, of another installation, of a
    later hour, or no edition at all."""
    stranger = Ed25519PrivateKey.generate()
    key = origin.key.public_key().public_bytes_raw().hex()
    liars = {
        "another key": Tells(origin, tamper=signed_by(stranger)),
        "signature": Tells(origin, tamper=flipped),
        "well-formed": Tells(origin, tamper=lambda _signed: b"\xff"),
        "installation": Tells(origin, tamper=signed_by(origin.key, installation_id="0" * 32)),
        "later than now": Tells(origin, tamper=lambda signed: of_later(signed, origin.key)),
    }
    with follows(tmp_path / "f", Tells(origin), publisher_key=key) as follower:
        until(lambda: follower.version)
    with follows(tmp_path / "f", *liars.values(), Tells(origin), publisher_key=key) as follower:
        assert follower.version == origin.index.index_version  # from its own directory
        version = origin.push(FIRST + 9)
        until(lambda: follower.version == version)
        for place, problem in enumerate(liars):
            assert problem in follower.problem(place)
        assert all(not liar.asked for liar in liars.values())


def test_slow_source_keeps_nobody_from_answering_and_is_left_for_the_next_one(origin, tmp_path):
    """While it keeps a piece back, its follower answers from what it has, and others go on; once it has been waited for
    in vain, the next source is asked."""
    slow, asked, given_up = threading.Event(), threading.Event(), threading.Event()

    def held_back(_sha256: bytes, _offset: int, content: bytes) -> bytes:
        if slow.is_set():
            asked.set()
            assert given_up.wait(WAIT_S)
            raise SourceFailed("it was silent")
        return content

    with (
        follows(tmp_path / "slow", Tells(origin, "slow", spoil=held_back), Tells(origin)) as follower,
        follows(tmp_path / "other", Tells(origin)) as other,
    ):
        until(lambda: follower.version and other.version)
        before = follower.version
        slow.set()
        version = origin.push(FIRST + 11)
        assert asked.wait(WAIT_S)
        until(lambda: other.version == version)
        assert follower.version == before
        assert statuses(follower, FIRST + 11) != statuses(other, FIRST + 11)
        given_up.set()
        until(lambda: follower.version == version)
        assert statuses(follower, FIRST + 11) == statuses(other, FIRST + 11)
        assert follower.problem() == "it was silent"


def test_names_that_are_no_plain_names_are_refused_though_they_are_signed(origin):
    edition = origin.edition()
    for name in ("../edition", "/etc/passwd", "", "a/b", ".hidden", "pages\n", "Pages"):
        files = [*edition.files, edition.files[1]._replace(name=name)]
        with pytest.raises(EditionRefused):
            read_edition(sign_edition(replace(edition, files=files), origin.key), None)


def test_key_that_was_met_first_is_the_only_one_ever_after(origin, tmp_path):
    """Also after a restart, and though the settings name none."""
    with follows(tmp_path / "f", Tells(origin)) as follower:
        until(lambda: follower.version)
    liar = Tells(origin, tamper=signed_by(Ed25519PrivateKey.generate()))
    with follows(tmp_path / "f", liar) as follower:
        until(lambda: "another key" in follower.problem())
        assert follower.version == origin.index.index_version
    with pytest.raises(EditionRefused, match="another key"):
        Follows(tmp_path / "f", liar, publisher_key="ab" * 32)


def test_file_that_is_not_the_signed_one_is_not_used_and_fetched_from_another(origin, tmp_path):
    """A byte changed, a file cut short or made longer, another file in its place."""
    spoilt = next(file for file in origin.edition().files if file.name != "callers")

    def spoiled(change: Callable[[bytes], bytes]) -> Tells:
        def spoil(sha256: bytes, _offset: int, content: bytes) -> bytes:
            return change(content) if sha256 == spoilt.sha256 else content

        return Tells(origin, spoil=spoil)

    changes: list[Callable[[bytes], bytes]] = [
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: b"",
        lambda content: content + b"x",
        lambda content: bytes(len(content)),
    ]
    liars = [spoiled(change) for change in changes]
    with follows(tmp_path / "f", *liars, Tells(origin)) as follower:
        until(lambda: follower.version)
        for place in range(len(liars)):
            assert "is not the file that the edition names" in follower.problem(place)


def test_replayed_edition_changes_nothing(origin, tmp_path):
    """Signed by the right key, and older than the one in use: of a source that holds back what its node revoked."""
    old = origin.newest()
    source = Tells(origin)
    with follows(tmp_path / "f", source) as follower:
        version = origin.push(FIRST + 3)
        until(lambda: follower.version == version)
        assert not follower.following._take(old, source)
        assert not follower.following._take(follower.following.newest(), source)
        assert follower.version == version


def test_fetch_that_is_cut_goes_on_where_it_was(origin, tmp_path, monkeypatch):
    """Each source breaks after one piece; no piece is asked for twice, by whichever source it comes."""
    monkeypatch.setattr("tests.serving.editions.PIECE_SIZE", 200_000)

    class Breaks(Tells):
        def piece(self, sha256: bytes, offset: int) -> bytes:
            if len(self.asked) % 2:
                self.asked.append((b"", 0))
                raise SourceFailed("cut")
            return super().piece(sha256, offset)

    sources = [Breaks(origin, f"{i}") for i in range(2)]
    with follows(tmp_path / "f", *sources) as follower:
        until(lambda: follower.version)
    asked = [one for source in sources for one in source.asked if one[0]]
    assert len(asked) == len(set(asked))
    expected = {(file.sha256, offset) for file in origin.edition().files for offset in range(0, file.size, 200_000)}
    assert set(asked) == expected


def test_beginning_of_a_file_by_a_source_that_lies_spoils_nothing_of_the_next_ones(origin, tmp_path):
    """It sends the beginning of each file, changed, and breaks off: the next source would go on with that."""

    class Begins(Tells):
        def piece(self, sha256: bytes, offset: int) -> bytes:
            if offset:
                raise SourceFailed("cut")
            return bytes([super().piece(sha256, offset)[0] ^ 1])

    with follows(tmp_path / "f", Begins(origin), Tells(origin)) as follower:
        until(lambda: follower.version == origin.index.index_version)
        until(lambda: follower.problem(1) == "")  # it was never left


def test_source_that_sends_too_slowly_is_left_for_the_next_one(origin, tmp_path, monkeypatch):
    monkeypatch.setattr("numcheck.serving.following.PACE_AFTER_S", 0.1)
    never = threading.Event()

    class Drips(Tells):
        def piece(self, sha256: bytes, offset: int) -> bytes:
            never.wait(0.01)
            return super().piece(sha256, offset)[:1]

    with capture_logs() as logs, follows(tmp_path / "f", Drips(origin, "drips"), Tells(origin)) as follower:
        until(lambda: follower.version == origin.index.index_version)
    assert ("drips", "it sends too slowly") in [(one.get("source"), one.get("problem")) for one in logs]


def test_source_that_tells_old_editions_one_by_one_does_not_hold_back_what_others_have(origin, tmp_path):
    """Each is signed, and newer than the one before: a source that passes on what its node says, an hour late."""
    first = origin.edition()

    class Late(Tells):
        def editions(self) -> Iterator[bytes]:
            while not self.closed:
                an_hour_ago = microseconds(datetime.now(UTC) - timedelta(hours=1))
                yield sign_edition(replace(first, signed_at_us=an_hour_ago), origin.key)
                with origin.made:
                    origin.made.wait(0.01)
            raise SourceFailed("closed")

    version = origin.push(FIRST + 4)
    with follows(tmp_path / "f", Late(origin), Tells(origin)) as follower:
        until(lambda: follower.version == version)
        assert follower.problem() == "its newest edition was signed long ago"


def test_follower_starts_from_its_own_directory_while_every_source_is_away(origin, tmp_path):
    with follows(tmp_path / "f", Tells(origin)) as follower:
        until(lambda: follower.version)

    class Away(Tells):
        def editions(self) -> Iterator[bytes]:
            raise SourceFailed("away")

    with follows(tmp_path / "f", Away(origin)) as follower:
        assert follower.version == origin.index.index_version
        until(lambda: follower.problem() == "away")
        assert statuses(follower, small.ACTIVE) == [origin.index.table.check(small.ACTIVE)]


def test_damaged_file_of_a_follower_is_not_answered_from_and_is_fetched_anew(origin, tmp_path):
    with follows(tmp_path / "f", Tells(origin)) as follower:
        until(lambda: follower.version)
    pages = next(file for file in origin.edition().files if file.name.startswith("pages"))
    path = tmp_path / "f" / "files" / pages.sha256.hex()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    source = Tells(origin)
    with follows(tmp_path / "f", source) as follower:
        assert follower.following.edition is None or follower.version
        until(lambda: follower.version)
        assert (pages.sha256, 0) in source.asked
        assert statuses(follower, *ASKED) == [origin.index.table.check(number) for number in ASKED]


def test_withdrawn_index_is_answered_from_no_more_not_even_after_a_restart(origin, tmp_path):
    """The store has lost history: until an index of a higher version comes nothing is answered."""
    with follows(tmp_path / "f", Tells(origin)) as follower:
        until(lambda: follower.version)
        origin.published.withdraw()
        until(lambda: not follower.version)
        until(lambda: (tmp_path / "f" / "edition").read_bytes() == follower.following.newest())
    before = origin.newest()
    with follows(tmp_path / "f", Tells(origin)) as follower:
        assert follower.following.newest() == before
        assert not follower.version
        version = origin.push(FIRST + 1)
        until(lambda: follower.version == version)


def test_edition_that_is_too_old_is_not_answered_from_until_there_is_news(origin, tmp_path):
    """A setting says how old; the age is that of the node's last look at its store, not of the last message."""
    origin.current_at = lambda: datetime.now(UTC) - timedelta(seconds=100)
    with follows(tmp_path / "f", Tells(origin), follow_age_max_s=50) as follower:
        until(lambda: follower.following.edition)
        assert not follower.version
        assert 100 <= follower.following.age_s < 100 + WAIT_S
        origin.current_at = lambda: datetime.now(UTC)
        origin.editions.wake()
        until(lambda: follower.version)
    with follows(tmp_path / "f", Tells(origin), follow_age_max_s=0) as follower:
        origin.current_at = lambda: datetime.now(UTC) - timedelta(days=1_000)
        origin.editions.wake()
        until(lambda: follower.following.age_s > HOUR_US / 1_000_000)
        assert follower.version


def test_follower_admits_whom_its_node_does_and_forgets_who_is_revoked(origin, tmp_path):
    """By certificate and by token; the directory changes without the index."""
    one, two = (Caller(f"numcheck://service/{name}", Role.MESSENGER, service=name) for name in ("one", "two"))
    origin.callers = [(one, None), (two, token_tag(TAG_KEY, "its token"))]
    by_token = Shown(authorizations=("Bearer its token",))
    with follows(tmp_path / "f", Tells(origin)) as follower:
        until(lambda: follower.version)
        assert follower.callers.admit(Shown(one.uri), METHOD) == one
        assert follower.callers.admit(by_token, METHOD) == two
        origin.callers = [(one, None)]
        origin.editions.wake()
        until(lambda: follower.callers.revision == 1)
        with pytest.raises(NotAuthenticated):
            follower.callers.admit(by_token, METHOD)
        assert follower.callers.admit(Shown(one.uri), METHOD) == one
        assert follower.denied == [("", METHOD, "NOT_AUTHENTICATED", "")]


def test_node_publishes_to_a_directory_that_followers_read(filled, tmp_path):
    """As from an object store's mount, by more than one of them; a file that an edition lacks is waited for."""
    mount = tmp_path / "mount"
    with origin_in(shutil.copytree(filled, tmp_path / "node"), publish_dir=mount) as origin:
        sources = [DirectorySource(mount) for _ in range(2)]
        with follows(tmp_path / "f1", sources[0]) as one, follows(tmp_path / "f2", sources[1]) as two:
            version = origin.push(FIRST + 8)
            until(lambda: one.version == two.version == version)
            assert statuses(one, *ASKED) == statuses(two, *ASKED)
    with follows(tmp_path / "f3", DirectorySource(mount)) as three:  # the node is gone, the directory is not
        until(lambda: three.version == version)
    with follows(tmp_path / "f4", DirectorySource(tmp_path / "nothing")) as four:
        until(lambda: four.problem() == "there is no edition")


def test_what_others_put_into_a_published_directory_is_no_edition_and_no_file(origin, tmp_path):
    """A pipe, which would never be read to its end, a device, a link out of it, and more bytes than an edition has."""
    mount, secret = tmp_path / "mount", tmp_path / "secret"
    secret.write_bytes(b"somebody else's")
    shelf, source = Shelf(mount), DirectorySource(mount)
    edition = mount / "edition"
    file = origin.edition().files[0]
    for put in (
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(secret),
        lambda path: path.mkdir(),
    ):
        for path in (edition, shelf.path(file.sha256)):
            put(path)
        with pytest.raises(SourceFailed, match="there is no edition"):
            next(source.editions())
        with pytest.raises(UnknownFile):
            source.piece(file.sha256, 0)
        for path in (edition, shelf.path(file.sha256)):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with edition.open("wb") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(EditionRefused):
        next(source.editions())


@pytest.mark.parametrize("sha256", [b"", b"x", b"\0" * 31, b"\0" * 33, b"\xff" * 5_000])
def test_what_is_no_hash_is_of_no_file(origin, tmp_path, sha256):
    for files in (Shelf(tmp_path / "f"), origin.editions):
        with pytest.raises(UnknownFile):
            files.read(sha256, 0, 4)


@pytest.mark.parametrize("offset", [2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_no_offset_fails_anything_but_its_own_fetch(origin, tmp_path, offset):
    edition, shelf = origin.edition(), Shelf(tmp_path / "f")
    shelf.fetch(edition, lambda sha256, offset: origin.editions.read(sha256, offset, 1_000_000))
    request = edition_pb2.FetchFileRequest(sha256=edition.files[0].sha256, offset=offset).SerializeToString()
    for files in (shelf, origin.editions):
        with pytest.raises(UnknownFile):
            EditionService(files).fetch_file(request, Mock())


def test_nothing_but_files_of_editions_is_removed_from_a_directory(origin, tmp_path):
    """Whoever writes to it could make its parts lead to a directory of the node's own."""
    shelf, own = Shelf(tmp_path / "mount"), tmp_path / "own"
    own.mkdir()
    for name in ("numcheck.db", "keys.json"):
        (own / name).write_text("x")
    (tmp_path / "mount" / "parts").rmdir()
    (tmp_path / "mount" / "parts").symlink_to(own)
    shelf.fetch(origin.edition(), lambda sha256, offset: origin.editions.read(sha256, offset, 1_000_000))
    shelf.keep(origin.newest(), origin.edition())
    assert sorted(path.name for path in own.iterdir()) == ["keys.json", "numcheck.db"]


def test_files_of_the_last_editions_are_kept_and_older_ones_are_gone(origin, tmp_path):
    """For who is still fetching; on the shelf, and at the node, whose index directory has them no more."""
    first = origin.edition()
    directory = next(file for file in first.files if file.name.startswith("directory"))
    shelf = Shelf(tmp_path / "f")
    for i in range(EDITIONS_KEPT):
        shelf.fetch(origin.edition(), lambda sha256, offset: origin.editions.read(sha256, offset, 1_000_000))
        shelf.keep(origin.newest(), origin.edition())
        for files in (shelf, origin.editions):
            assert files.read(directory.sha256, 0, 4) == b"numc"
        version = origin.push(FIRST + i)
        until(lambda version=version: origin.edition().index_version == version)
    shelf.fetch(origin.edition(), lambda sha256, offset: origin.editions.read(sha256, offset, 1_000_000))
    shelf.keep(origin.newest(), origin.edition())
    for files in (shelf, origin.editions):
        with pytest.raises(UnknownFile):
            files.read(directory.sha256, 0, 4)


def test_edition_without_a_manifest_or_callers_is_none(origin):
    edition = origin.edition()
    for lacking in ("manifest.json", "callers"):
        files = [file for file in edition.files if file.name != lacking]
        with pytest.raises(EditionRefused):
            read_edition(sign_edition(replace(edition, files=files), origin.key), None)


def test_edition_is_read_as_it_was_signed(origin):
    edition = Edition("0" * 32, 7, 1, 2, origin.edition().files)
    key = origin.key.public_key().public_bytes_raw()
    assert read_edition(sign_edition(edition, origin.key), None) == (edition, key)
