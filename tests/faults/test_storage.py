"""R2, sampled: storage calls fail, once and for good. `make faults ARGS=--storage` lets every one of them fail."""

import errno
import sys
from collections.abc import Iterator

import pytest

from tests.faults.storage import FAULTS, SYNC, Fault, Storage

FAILED_SYNC = Fault("failed synchronisation", SYNC, errno.EIO, half=False, recovers=False)
PLACES = {True: (1, 3, 8, 40, 100), False: (2, 30)}  # by whether the node goes on by itself: to start one takes time

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="calls are made to fail by preloading")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A node whose storage fails when it is told to."""
    one = Storage(tmp_path_factory.mktemp("storage"))
    yield one
    one.close()


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_storage_call_may_fail(storage: Storage, fault: Fault, for_good: bool) -> None:
    """A clear status, checks go on, nothing is lost or done twice; only an I/O error asks for a node to be started."""
    before = storage.restarts
    struck = [storage.run(fault, at=place, for_good=for_good) for place in PLACES[fault.recovers]]
    assert struck[0], "nothing has failed"
    assert storage.restarts == before or not fault.recovers


def test_a_failed_synchronisation_stops_the_writer_until_the_node_is_started_anew(storage: Storage) -> None:
    """It is never tried again: the kernel may have dropped what it could not write."""
    before = storage.restarts
    assert storage.run(FAILED_SYNC, at=1, for_good=False)
    assert storage.restarts == before + 1
