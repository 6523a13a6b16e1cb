"""EditionService knows which callers watch: each as long as it is told of editions."""

from collections.abc import Iterator

import pytest

from numcheck.access import Caller, Role
from numcheck.api import access
from numcheck.api.editions import WATCHES_S, EditionService, Followers
from numcheck.errors import IndexNotReady

NOT_READY = IndexNotReady("this node has no edition yet")


class Editions:
    """Editions, of which there may be none yet."""

    ready = True

    def newest(self) -> bytes:
        if not self.ready:
            raise NOT_READY
        return b"edition"

    def read(self, sha256: bytes, offset: int, size: int) -> bytes:
        raise NotImplementedError


@pytest.fixture
def follower() -> Iterator[str]:
    """A call of a follower's is served; its URI."""
    caller = Caller("numcheck://follower/one", Role.FOLLOWER)
    before = access._call.set(access.Call(caller, lambda _reason: None, lambda: None))
    yield caller.uri
    access._call.reset(before)


def test_a_follower_is_known_from_the_first_edition_that_it_is_told_of(follower: str) -> None:
    editions = Editions()
    service = EditionService(editions)
    message = service.watch_editions(b"")
    assert service.followers.ages_s() == {}
    editions.ready = False
    with pytest.raises(IndexNotReady):
        message()
    assert service.followers.ages_s() == {}
    editions.ready = True
    assert message() == b"edition"
    assert [*service.followers.ages_s()] == [follower]


def test_a_follower_that_is_told_of_nothing_is_forgotten() -> None:
    now_s = [0.0]
    followers = Followers(lambda: now_s[0])
    followers.told("numcheck://follower/one")
    now_s[0] = WATCHES_S / 2
    followers.told("numcheck://follower/two")
    assert followers.ages_s() == {"numcheck://follower/one": WATCHES_S / 2, "numcheck://follower/two": 0.0}
    now_s[0] = WATCHES_S
    assert followers.ages_s() == {"numcheck://follower/two": WATCHES_S / 2}
