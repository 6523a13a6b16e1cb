"""Calls while a new index is published: each answer is that of the one version that it names."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyroaring import BitMap

from numcheck.active import AllottedRange, ChunkMembers, Operator
from numcheck.index import IndexSource, PublishedIndex, build_index, open_index
from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.api.listeners import listening
from tests.serving.small import DATA_TIME

FIRST = 79160000000
NUMBERS = range(FIRST, FIRST + 10_000, 7)
VERSIONS = range(1, 13)
CALLERS = 4


def is_active(place: int, version: int) -> bool:
    """Another quarter of the numbers in each version."""
    return (place // 3 + version) % 4 == 0


def source(version: int) -> IndexSource:
    """What an index of a version is made of; the operator's id tells the version, too."""
    held = AllottedRange(FIRST, FIRST + 9_999, version, True, "")
    bitmap = BitMap(place for place in range(10_000) if is_active(place, version))
    operator = Operator(version, "one", None, 1, DATA_TIME)
    members = ChunkMembers({version: bitmap.shift(FIRST % 10_000_000)})
    return IndexSource(version, [(70000000000, 79999999999)], [held], [operator], lambda *_: members)


@pytest.fixture
def indexes(tmp_path):
    """An index of each version."""
    for version in VERSIONS:
        build_index(tmp_path / str(version), source(version))
    return [open_index(tmp_path / str(version)) for version in VERSIONS]


class Race:
    """Callers that ask until the last version is published, and a publisher that goes on when one has been seen."""

    def __init__(self, indexes: list) -> None:
        self.published = PublishedIndex()
        self.published.publish(indexes[0])
        self._indexes = indexes
        self._seen, self._newest = threading.Condition(), 0
        self.over = threading.Event()

    def publish_all(self) -> None:
        """Publish the next version whenever a caller has had an answer of the one before."""
        try:
            for index in self._indexes[1:]:
                with self._seen:
                    assert self._seen.wait_for(lambda before=index.index_version - 1: self._newest == before, 60)
                self.published.publish(index)
        finally:
            self.over.set()

    def saw(self, answer: check_pb2.CheckNumbersResponse) -> int:
        """Check an answer against the version that it names; return the version."""
        version = answer.index_version
        assert list(answer.statuses) == [4 if is_active(number - FIRST, version) else 3 for number in NUMBERS]
        assert set(answer.operator_ids) == {version}
        with self._seen:
            self._newest = max(self._newest, version)
            self._seen.notify_all()
        return version


def ask_one_by_one(channel, race):
    stub = check_pb2_grpc.CheckServiceStub(channel)
    request = check_pb2.CheckNumbersRequest(numbers=NUMBERS)
    versions = []
    while not race.over.is_set():
        versions.append(race.saw(stub.CheckNumbers(request)))
    return [*versions, race.saw(stub.CheckNumbers(request))]


def ask_over_a_stream(channel, race):
    stub = check_pb2_grpc.CheckServiceStub(channel)
    request = check_pb2.CheckNumbersRequest(numbers=NUMBERS)
    answers = stub.StreamCheckNumbers(iter(lambda: None if race.over.is_set() else request, None))
    return [*(race.saw(answer) for answer in answers), race.saw(stub.CheckNumbers(request))]


@pytest.mark.parametrize("ask", [ask_one_by_one, ask_over_a_stream])
def test_every_answer_is_of_the_version_that_it_names_while_others_are_published(indexes, ask):
    """Statuses and operators of one version, never a mix; a caller's versions never go back, and reach the last."""
    race = Race(indexes)
    with listening(race.published) as (_, channel), ThreadPoolExecutor(CALLERS + 1) as pool:
        callers = [pool.submit(ask, channel, race) for _ in range(CALLERS)]
        pool.submit(race.publish_all).result(120)
        seen = [caller.result(60) for caller in callers]
    assert all(versions == sorted(versions) for versions in seen)
    assert all(versions[-1] == VERSIONS[-1] for versions in seen)
    assert set().union(*seen) == set(VERSIONS)
