"""Both doors get the same bytes, call for call, and give the same bytes: statuses, details and messages.

20,000 calls, many of them unsound and all of them cut anywhere and mixed with others, of which `make fuzz` makes a
million: NUMCHECK_EDGE_CALLS sets how many, NUMCHECK_EDGE_SEED which.
"""

import gzip
import os
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import grpc
import pytest

from numcheck.access import Caller, Role
from numcheck.api.access import Access, CallersIndex
from numcheck.config import Settings
from numcheck.door import requests
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import Index, PublishedIndex
from numcheck.serving.services import check_service
from tests.conformance.calls import call_fields, message
from tests.conformance.http2 import block
from tests.edge.authority import Authority
from tests.edge.pipeline import PATIENCE_S, ROUND_SIZE_MAX, Call, Outcome, Pipeline
from tests.edge.random_calls import CHECK, UNSOUND, any_call, sound_stream, sound_unary
from tests.edge.world import index_of_the_world

CALLS = int(os.environ.get("NUMCHECK_EDGE_CALLS", "20000"))
CALLS_OVER_TLS = CALLS // 10
SEED = os.environ.get("NUMCHECK_EDGE_SEED", "1")
PARTS = 4
ROUND_CALLS_MAX = 16
ROUNDS_A_CONNECTION = 400

# Only codes can be compared: the text is a library's own, and there are no details.
OWN_TEXTS = {
    "compressed without an encoding", "gzip and more", "gzip cut", "gzip damaged", "gzip twice over", "no message",
}  # fmt: skip
# What the native door refuses and grpc-core reads as the calls that it can make of it.
STRICTER = {"a first byte that is neither", "less than is announced", "bytes after the message", "gzip cut"}
# grpcio's door asks who calls before it looks for a method that nobody has.
DENIED = {grpc.StatusCode.PERMISSION_DENIED.value[0], grpc.StatusCode.UNAUTHENTICATED.value[0]}


class Addresses(NamedTuple):
    """Of the two doors, and how they are spoken to."""

    api: str
    native: str
    tls: ssl.SSLContext | None = None


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """However slow the machine is: the plain door waits for every request, also where one caller has sent many."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REQUEST_TIMEOUT_S", "CROWDED_TIMEOUT_S", "LATE_TIMEOUT_S"):
            patch.setattr(requests, name, PATIENCE_S)
        yield


@contextmanager
def both(index: Index, settings: Settings, access: Access | None = None) -> Iterator[Addresses]:
    """Both doors over one index, asked as whoever calls sees it."""
    published = PublishedIndex()
    seen = published if access is None else CallersIndex(published, access.agreed)
    api = PlainDoor(settings, [check_service(seen, settings)], Watches(), access)
    native = NativeDoor(settings, published, access)
    published.publish(index)
    try:
        for listener in (api, native):
            listener.set_serving(serving=True)
        yield Addresses(api.address, native.address)
    finally:
        for listener in (api, native):
            listener.stop(1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    if LACKING is not None:
        pytest.skip(LACKING)
    return index_of_the_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("data"), listen="127.0.0.1:0", threads=1,
        api_threads=2 * ROUND_CALLS_MAX,
        # grpc-core forgets a call a while after it has answered it.
        streams_per_connection_max=512,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plaintext(index: Index, settings: Settings) -> Iterator[Addresses]:
    with both(index, settings) as addresses:
        yield addresses


def rounds(chance: Random, count: int, make: Callable[[Random], Call] = any_call) -> Iterator[list[Call]]:
    """So many calls, as many together as are to be sent at once."""
    waiting: list[Call] = []
    for _ in range(count):
        call = make(chance)
        if (
            len(waiting) == ROUND_CALLS_MAX
            or sum(len(part) for one in (*waiting, call) for part in one.parts) > ROUND_SIZE_MAX
        ):
            yield waiting
            waiting = []
        waiting.append(call)
    yield waiting


def is_alike(call: Call, api: Outcome, native: Outcome) -> bool:
    """Whether the native door did as the plain door, or as the lists above say."""
    kind = call.kind.partition(" /")[0]
    if api == native:
        return True
    if kind == "unknown":
        return native.status == grpc.StatusCode.UNIMPLEMENTED.value[0] and api.status in DENIED
    if api.status == native.status and native.status in DENIED:
        return True  # the texts name the call as either sees it
    if kind == "too large":  # grpcio's server tells no reason
        return api.status == native.status and (api.details, b"MESSAGE_TOO_LARGE" in native.details) == (b"", True)
    if kind in STRICTER and native.status == grpc.StatusCode.INTERNAL.value[0]:
        return native.details == b"" and (native.body in (api.body, b""))
    return kind in OWN_TEXTS and api._replace(message=b"") == native._replace(message=b"")


def ask_both(
    addresses: Addresses, calls: list[list[Call]] | Iterator[list[Call]], chance: Random
) -> Counter[int | None]:
    """Send each round to both and compare call by call; how often which status came."""
    statuses: Counter[int | None] = Counter()
    waiting = iter(calls)
    while some := list(islice(waiting, ROUNDS_A_CONNECTION)):
        with ExitStack() as stack:
            pipelines = [stack.enter_context(closing(Pipeline(one, addresses.tls))) for one in addresses[:2]]
            for together in some:
                order = chance.random()
                for pipeline in pipelines:
                    pipeline.send(together, Random(order))
                outcomes = [pipeline.outcomes(together) for pipeline in pipelines]
                for call, api, native in zip(together, *outcomes, strict=True):
                    assert is_alike(call, api, native), f"{call}\nAPI    {api}\nnative {native}"
                    statuses[native.status] += 1
    return statuses


@pytest.mark.parametrize("part", range(PARTS))
def test_calls_are_answered_alike_when_they_are_any(plaintext: Addresses, part: int) -> None:
    chance = Random(f"{SEED}:{part}")
    statuses = ask_both(plaintext, rounds(chance, CALLS // PARTS), chance)
    assert {0, 3, 5, 12, 13, 14} <= statuses.keys()


def unary(kind: str, whole: bytes, *more: tuple[str, str], method: str = "CheckNumbers") -> Call:
    return Call(kind, block(call_fields(CHECK + method, *more)), (whole,))


@pytest.mark.parametrize("method", ["CheckNumber", "CheckNumbers", "StreamCheckNumbers"])
def test_calls_are_refused_alike_when_they_are_too_large(plaintext: Addresses, method: str) -> None:
    too_large = Settings().message_size_max + 1
    announced = b"\0" + too_large.to_bytes(4, "big") + bytes(1_000)
    compressed = message(gzip.compress(bytes(too_large)), compressed=1)
    calls = [
        unary("too large", announced, method=method),
        unary("too large", compressed, ("grpc-encoding", "gzip"), method=method),
    ]
    statuses = ask_both(plaintext, [[call] for call in calls], Random(1))
    assert statuses == {grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]: 2}


@pytest.fixture(scope="module")
def secured(
    index: Index, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Addresses]]:
    """Over TLS, by the name of who asks: a service of two agreements, one of none, and who sees everything."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    callers = {
        "two": Caller("numcheck://service/two", Role.MESSENGER, service="two"),
        "none": Caller("numcheck://service/none", Role.MESSENGER, service="none"),
        "administrator": Caller("numcheck://administrator", Role.ADMINISTRATOR),
        "operator": Caller("numcheck://operator", Role.OPERATOR, operator_id=1),
    }
    known = {caller.uri: caller for caller in callers.values()}
    access = Access(
        lambda uri, _token: known.get(uri),
        lambda service: frozenset({1, 16_384}) if service == "two" else frozenset(),
        lambda _uri, _method, _reason, _address: None,
        token_key=b"",
    )
    server = authority.issue("server")
    files: dict[str, Any] = {"tls_certificate_file": server.certificate, "tls_key_file": server.key}
    with both(
        index, settings.model_copy(update=files | {"tls_client_authority_file": authority.file}), access
    ) as found:
        yield {
            name: found._replace(tls=tls_of(authority, name, known_as.uri)) for name, known_as in callers.items()
        } | {"stranger": found._replace(tls=tls_of(authority, "stranger", "numcheck://stranger"))}


def tls_of(authority: Authority, name: str, uri: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    client = authority.issue(name, uri)
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize("who", ["two", "none", "administrator"])
def test_calls_over_tls_are_answered_alike_when_they_are_any(secured: dict[str, Addresses], who: str) -> None:
    chance = Random(f"{SEED}:{who}")
    statuses = ask_both(secured[who], rounds(chance, CALLS_OVER_TLS), chance)
    assert statuses[0] > CALLS_OVER_TLS // 10, statuses


def checking(chance: Random) -> Call:
    """A sound call of CheckNumbers, CheckNumber or StreamCheckNumbers."""
    call = chance.choice((sound_unary, sound_stream))(chance)
    return call if "CheckNumber" in call.kind else checking(chance)


@pytest.mark.parametrize(
    ("who", "denied"),
    [("operator", grpc.StatusCode.PERMISSION_DENIED), ("stranger", grpc.StatusCode.UNAUTHENTICATED)],
)
def test_checks_are_denied_by_both_when_the_caller_may_not_make_them(
    secured: dict[str, Addresses], who: str, denied: grpc.StatusCode
) -> None:
    chance = Random(f"{SEED}:{who}")
    statuses = ask_both(secured[who], rounds(chance, CALLS_OVER_TLS // 10, checking), chance)
    assert statuses.keys() <= {denied.value[0], 0}  # a stream of no message may end well
    assert statuses[denied.value[0]] > CALLS_OVER_TLS // 20


def test_every_list_of_exceptions_names_what_is_made() -> None:
    assert UNSOUND.keys() >= STRICTER | OWN_TEXTS
