"""CheckNumber is the same from both doors, byte by byte, however the number is written; the loop answers most."""

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peer import Doors

from numcheck import e164
from numcheck.errors import NotANumber
from numcheck.index import Index
from numcheck.v1 import check_pb2
from tests.spellings import REFUSED, SPELLINGS, Spelling, is_encodable, spellings

METHOD = "/numcheck.v1.CheckService/CheckNumber"
NUMBERS = int(os.environ.get("NUMCHECK_EDGE_NUMBERS", "3000"))


@pytest.fixture
def channels(doors: Doors) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    with grpc.insecure_channel(doors.api.address) as api, grpc.insecure_channel(doors.native.address) as native:
        yield api, native


def outcome(channel: grpc.Channel, request: bytes) -> tuple[Any, ...]:
    try:
        return ("answer", channel.unary_unary(METHOD)(request, timeout=10))
    except grpc.RpcError as error:
        details = [pair.value for pair in error.trailing_metadata() if pair.key == "grpc-status-details-bin"]
        return error.code(), error.details(), details


def same_outcome(channels: tuple[grpc.Channel, grpc.Channel], request: bytes) -> tuple[Any, ...]:
    api, native = (outcome(channel, request) for channel in channels)
    assert api == native, request.hex()
    return api


def numbers_of(index: Index) -> Callable[[random.Random], int]:
    """Numbers at the edges of ranges and within them, of the plan and of nowhere."""
    count = len(index.ranges) // 24
    firsts, lasts = index.ranges[: 8 * count].cast("Q"), index.ranges[8 * count : 16 * count].cast("Q")

    def number(rng: random.Random) -> int:
        i = rng.randrange(count)
        allotted = (rng.randint(firsts[i], lasts[i]), firsts[i], lasts[i], firsts[i] - 1, lasts[i] + 1)
        return rng.choice((*allotted, 70_000_000_000 + rng.randrange(10**10), rng.randrange(10**6, 10**15)))

    return number


FORMS = [
    "+{n}",
    "{n}",
    "8{s}",
    "{s}",
    "+7 ({a}) {b}-{c}",
    "8-{a}-{b}.{c}",
    " +{n} ",
    "'{n}",
    "00{n}",
    "tel:+{n}",
    "７{s}",
]


def written(form: str, number: int) -> str:
    text = str(number)
    return form.format(n=text, s=text[1:], a=text[1:4], b=text[4:7], c=text[7:])


def request(text: str) -> bytes:
    return check_pb2.CheckNumberRequest(number=text).SerializeToString()


def test_both_doors_answer_the_same_however_a_number_is_written(doors: Doors, channels: Any) -> None:
    rng, number = random.Random(6), numbers_of(doors.index)
    found = {
        same_outcome(
            channels,
            request(written(rng.choice(FORMS), number(rng))),
        )[0]
        for _ in range(NUMBERS)
    }
    assert len(found) > 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"\x07",
        b"\x0a",
        b"\x0a\x00",
        b"\x0a\x0d+79161234567",
        b"\x0a\x0b+79161234567",
        b"\x0a\x8c\x00+79161234567",
        b"\x0a\x0c+79161234567\x10\x01",
        b"\x0a\x0c+79161234567\x0a\x0c+79161234568",
        b"\x0a\x01\xff",
        b"\x0a\x7f" + b"+79161234567".ljust(0x7F),
        b"\x0a\x80\x01" + b"+79161234567".ljust(0x80),
        b"\x0a\xfb\x01" + b"+79161234567".ljust(251),
        b"\x0a\x08+123456 ",
        b"\x0a\x10+123456789012345",
        b"\x0a\x11+1234567890123456",
    ],
)
def test_both_doors_answer_the_same_when_the_request_is_odd(channels: Any, request_bytes: bytes) -> None:
    same_outcome(channels, request_bytes)


def test_a_loop_reads_every_spelling_and_python_refuses_the_rest(
    channels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def parse(text: str, _region: str) -> int:
        asked.append(text)
        raise NotANumber("the text is refused")

    monkeypatch.setattr(e164, "parse", parse)
    read = {
        text: check_pb2.CheckNumberResponse.FromString(
            channels[1].unary_unary(METHOD)(request(text), timeout=10)
        ).number
        for text in SPELLINGS
    }
    assert (read, asked) == (SPELLINGS, [])
    refused = list(filter(is_encodable, REFUSED))
    assert {outcome(channels[1], request(text))[0] for text in refused} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert asked == refused


@settings(
    max_examples=int(os.environ.get("NUMCHECK_EDGE_SPELLINGS", "200")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(spellings(), st.sampled_from(["", "x", ".0", "-"]))
def test_both_doors_answer_the_same_when_the_spelling_is_made_up(channels: Any, made: Spelling, behind: str) -> None:
    found = same_outcome(channels, request(made.text + behind))
    assert behind == ".0" or (found[0] == "answer") == (not behind)
    if not behind:
        assert check_pb2.CheckNumberResponse.FromString(found[1]).number == made.number
