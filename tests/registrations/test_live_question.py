"""I.3b: the question to the operator itself, against a gRPC server of the test's own in the operator's role."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import structlog

from numcheck.active import Operator
from numcheck.config import load_settings
from numcheck.errors import BadConfiguration, WrongState
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.enquiry import ANSWER_AGE_MAX, LiveAnswer
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.policy import Method
from numcheck.registrations.states import RegistrationState as State
from numcheck.serving.breaker import FAILURES_MAX, OPEN_S, Breaker
from numcheck.serving.enquiries import ATTEMPTS_MAX, Clocks, Endpoint, Enquiries, enquiries_of
from numcheck.status import NumberStatus
from numcheck.v1 import operator_pb2, registration_pb2
from numcheck.v1.operator_pb2_grpc import SubscriberServiceServicer, add_SubscriberServiceServicer_to_server
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.edge.authority import Authority
from tests.registrations.by_code import start
from tests.registrations.test_service import register_request
from tests.registrations.world import SERVICE, START, World, small
from tests.serving.command import serving

NUMBER = small.UNKNOWN
ACTIVE, INACTIVE = operator_pb2.NUMBER_ANSWER_ACTIVE, operator_pb2.NUMBER_ANSWER_INACTIVE
SCARTEL = Operator(4, "Скартел", small.SCARTEL)


@dataclass
class TheirService(SubscriberServiceServicer):
    """The operator: what it was asked, and what it does about it."""

    does: Callable[[grpc.ServicerContext], object] = lambda _context: operator_pb2.ConfirmNumberResponse(answer=ACTIVE)
    asked: list[tuple[int, str]] = field(default_factory=list)
    port: int = 0

    def ConfirmNumber(self, request, context):  # noqa: N802
        self.asked.append((request.number, request.question_id))
        return self.does(context)

    def says(self, answer: int, **fields: object) -> None:
        self.does = lambda _context: operator_pb2.ConfirmNumberResponse(answer=answer, **fields)

    def fails(self, code: grpc.StatusCode, times: int = 1_000) -> None:
        """Fail so often, then confirm."""
        before = len(self.asked)

        def do(context: grpc.ServicerContext) -> object:
            if len(self.asked) - before <= times:
                context.abort(code, "out of order")
            return operator_pb2.ConfirmNumberResponse(answer=ACTIVE)

        self.does = do


@contextmanager
def operator_serving(credentials: grpc.ServerCredentials | None = None) -> Iterator[TheirService]:
    theirs, server = TheirService(), grpc.server(ThreadPoolExecutor(4))
    add_SubscriberServiceServicer_to_server(theirs, server)
    address = "127.0.0.1:0"
    theirs.port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    yield theirs
    server.stop(None).wait()


@pytest.fixture
def theirs() -> Iterator[TheirService]:
    with operator_serving() as one:
        yield one


@dataclass
class Time:
    """Clocks that a test moves; who sleeps moves them."""

    seconds: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def clocks(self) -> Clocks:
        return Clocks(lambda: START + timedelta(seconds=self.seconds), lambda: self.seconds, self.sleep)


@contextmanager
def asking(port: int, time: Time, *, timeout_s: float = 20.0, at_once: int = 4) -> Iterator[Enquiries]:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    endpoint = Endpoint(channel, Breaker(lambda: time.seconds))
    one = Enquiries({small.SCARTEL: endpoint}, timeout_s=timeout_s, at_once_max=at_once, clocks=time.clocks())
    yield one
    one.close()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def enquiries(theirs: TheirService, time: Time) -> Iterator[Enquiries]:
    with asking(theirs.port, time) as one:
        yield one


# --- the client


@pytest.mark.parametrize(("answer", "active"), [(ACTIVE, True), (INACTIVE, False)])
def test_a_yes_or_no_is_the_answer_with_its_moments(
    theirs: TheirService, enquiries: Enquiries, answer: int, active: bool
) -> None:
    theirs.says(answer, data_time=START - timedelta(hours=1))
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) == LiveAnswer(
        active, START - timedelta(hours=1), START, START, timedelta(0)
    )
    theirs.says(answer)
    said = enquiries.ask(SERVICE, SCARTEL, NUMBER)
    assert said is not None
    assert said.data_time == START
    (first, one), (second, other) = theirs.asked
    assert first == second == NUMBER
    assert one != other


@pytest.mark.parametrize("answer", [0, operator_pb2.NUMBER_ANSWER_UNKNOWN, 77])
def test_what_is_neither_yes_nor_no_is_no_answer(theirs: TheirService, enquiries: Enquiries, answer: int) -> None:
    """Also a word of a later version of the protocol; the operator is well all the same."""
    theirs.says(answer)
    for _ in range(FAILURES_MAX + 1):
        assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None
    assert len(theirs.asked) == FAILURES_MAX + 1


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x12\x01\xff", b"x" * 5_000])
def test_garbage_is_no_answer(time: Time, garbage: bytes) -> None:
    """Bytes that are no message, and more bytes than an answer has."""
    method = grpc.unary_unary_rpc_method_handler(lambda _request, _context: garbage)
    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.method_handlers_generic_handler("numcheck.v1.SubscriberService", {"ConfirmNumber": method})
    server.add_generic_rpc_handlers([handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with asking(port, time) as enquiries:
        assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None
    server.stop(None).wait()


@pytest.mark.parametrize("seconds", [-1, 10**12, -(10**12)])
def test_a_moment_that_is_none_is_no_answer(theirs: TheirService, enquiries: Enquiries, seconds: int) -> None:
    theirs.says(ACTIVE, data_time={"seconds": seconds})
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None


def test_unavailable_is_asked_again_by_the_same_name(theirs: TheirService, enquiries: Enquiries) -> None:
    theirs.fails(grpc.StatusCode.UNAVAILABLE, times=ATTEMPTS_MAX - 1)
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is not None
    assert len(theirs.asked) == ATTEMPTS_MAX
    assert len(set(theirs.asked)) == 1


def test_attempts_have_an_end(theirs: TheirService, enquiries: Enquiries) -> None:
    theirs.fails(grpc.StatusCode.UNAVAILABLE)
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None
    assert len(theirs.asked) == ATTEMPTS_MAX


@pytest.mark.parametrize("code", [one for one in grpc.StatusCode if one.name not in ("OK", "UNAVAILABLE")])
def test_no_other_failure_is_repeated(theirs: TheirService, enquiries: Enquiries, code: grpc.StatusCode) -> None:
    theirs.fails(code)
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None
    assert len(theirs.asked) == 1


def test_an_operator_that_is_slow_is_waited_for_until_the_deadline(theirs: TheirService, time: Time) -> None:
    """And not longer: the answer that comes after it is nobody's."""
    release = threading.Event()
    theirs.does = lambda _context: release.wait() and operator_pb2.ConfirmNumberResponse(answer=ACTIVE)
    with asking(theirs.port, time, timeout_s=0.1) as enquiries:
        assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None
    release.set()


def test_an_operator_that_is_gone_gives_no_answer_and_no_number_is_logged(time: Time) -> None:
    """R11."""
    with operator_serving() as gone:
        port = gone.port
    with asking(port, time) as enquiries, structlog.testing.capture_logs() as lines:
        assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None
    assert lines[0]["code"] == "UNAVAILABLE"
    assert str(NUMBER) not in str(lines)


def test_who_finds_no_place_asks_nobody(theirs: TheirService, time: Time) -> None:
    """An operator that is slow holds so many threads, and no more; another service has one of them."""
    release, came = threading.Event(), threading.Semaphore(0)
    theirs.does = lambda _context: (
        came.release() or (release.wait() and operator_pb2.ConfirmNumberResponse(answer=ACTIVE))
    )
    with asking(theirs.port, time, at_once=2) as enquiries, ThreadPoolExecutor(2) as pool:
        waiting = []
        for service, number in ((SERVICE, NUMBER), ("other", NUMBER + 1)):
            waiting.append(pool.submit(enquiries.ask, service, SCARTEL, number))
            came.acquire()
            assert enquiries.ask(SERVICE, SCARTEL, NUMBER + 2) is None
        release.set()
        assert None not in [one.result() for one in waiting]
    assert len(theirs.asked) == 2


def test_an_operator_that_fails_is_left_alone_and_comes_back(
    theirs: TheirService, enquiries: Enquiries, time: Time
) -> None:
    """Flapping: open after five in a row, one question each 30 s, closed by the first that is answered."""
    theirs.fails(grpc.StatusCode.INTERNAL)
    for _ in range(FAILURES_MAX + 3):
        assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is None
    assert len(theirs.asked) == FAILURES_MAX
    time.sleep(OPEN_S - 0.5)
    enquiries.ask(SERVICE, SCARTEL, NUMBER)
    assert len(theirs.asked) == FAILURES_MAX
    for turn in (1, 2):
        time.sleep(OPEN_S)
        enquiries.ask(SERVICE, SCARTEL, NUMBER)
        enquiries.ask(SERVICE, SCARTEL, NUMBER)
        assert len(theirs.asked) == FAILURES_MAX + turn
    theirs.says(ACTIVE)
    time.sleep(OPEN_S)
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is not None
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is not None
    theirs.fails(grpc.StatusCode.INTERNAL)
    for _ in range(FAILURES_MAX - 1):
        enquiries.ask(SERVICE, SCARTEL, NUMBER)
    theirs.says(ACTIVE)
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is not None


def test_an_operator_without_an_endpoint_is_not_asked(theirs: TheirService, enquiries: Enquiries) -> None:
    assert enquiries.ask(SERVICE, Operator(5, "МТТ", small.MTT), NUMBER) is None
    assert theirs.asked == []


def test_an_endpoint_is_found_by_operator_id_too(theirs: TheirService, time: Time) -> None:
    endpoint = Endpoint(grpc.insecure_channel(f"127.0.0.1:{theirs.port}"), Breaker(lambda: time.seconds))
    enquiries = Enquiries({"4": endpoint}, timeout_s=20, at_once_max=1)
    assert enquiries.ask(SERVICE, SCARTEL, NUMBER) is not None
    enquiries.close()


# --- the rules


@dataclass
class Said:
    """Answers what it is told to, and keeps whom it was asked about."""

    answer: LiveAnswer | None = None
    asked: list[int] = field(default_factory=list)

    def ask(self, _service: str, _operator: Operator, number: int) -> LiveAnswer | None:
        self.asked.append(number)
        return self.answer


def saying(active: bool, *, took: timedelta = timedelta(seconds=2), age: timedelta = timedelta(0)) -> LiveAnswer:
    return LiveAnswer(active, START - age, START - took, START, took)


POLICY = {"data_age_max": timedelta(days=30), "live": True}


@contextmanager
def world_of(data_dir: Path, said: Said, **fields: object) -> Iterator[World]:
    one = World(data_dir, **{"policy": POLICY, "enquirer": said, **fields})  # type: ignore[arg-type]
    yield one
    one.close()


@pytest.mark.parametrize(("active", "state"), [(True, State.VERIFIED), (False, State.REJECTED)])
def test_a_live_answer_decides_where_the_data_says_nothing(data_dir: Path, active: bool, state: State) -> None:
    """And the evidence, also that in the chain, says who was asked when, and what came back when."""
    with world_of(data_dir, Said(saying(active, age=timedelta(hours=1)))) as world:
        made = world.register(NUMBER)
        assert made.registration.state is state
        (evidence,) = made.registration.evidence
        assert evidence == Evidence(
            Method.OPERATOR,
            verified_at_us=int(START.timestamp() * 1_000_000),
            operator_id=world.index.facts(NUMBER).serving_operator.operator_id,  # type: ignore[union-attr]
            data_time_us=int((START - timedelta(hours=1)).timestamp() * 1_000_000),
            index_version=world.index.index_version,
            answer=int(NumberStatus.ACTIVE if active else NumberStatus.INACTIVE),
            live=True,
            asked_at_us=int((START - timedelta(seconds=2)).timestamp() * 1_000_000),
        )
        last = world.store.events().of_service(SERVICE, 0)[-1]
        assert '"live":true' in last.details
        assert '"asked_at_us":' in last.details
        assert world.courier is not None
        assert world.courier.sent == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        saying(True, took=ANSWER_AGE_MAX + timedelta(microseconds=1)),
        saying(False, took=ANSWER_AGE_MAX + timedelta(microseconds=1)),
        saying(True, age=timedelta(days=31)),
        saying(True, age=-timedelta(minutes=6)),
    ],
    ids=["none", "late yes", "late no", "old", "of the future"],
)
def test_what_counts_as_none_leads_to_the_next_method(data_dir: Path, answer: LiveAnswer | None) -> None:
    """Later than 20 minutes, older than the policy's limit, ahead of the clock."""
    said = Said(answer)
    with world_of(data_dir, said) as world:
        made = world.register(NUMBER)
        assert made.registration.state is State.PENDING
        assert made.registration.evidence == ()
        assert made.verification is not None
        assert made.verification.method is Method.CODE
    assert said.asked == [NUMBER]


def test_an_answer_within_20_minutes_counts(data_dir: Path) -> None:
    with world_of(data_dir, Said(saying(True, took=ANSWER_AGE_MAX))) as world:
        assert world.register(NUMBER).registration.state is State.VERIFIED


def test_nobody_is_asked_where_the_data_answers_and_where_it_is_too_old_somebody_is(data_dir: Path) -> None:
    said = Said(saying(True))
    with world_of(data_dir, said) as world:
        world.register(small.ACTIVE, "u1")
        world.register(small.INACTIVE, "u2")
        assert said.asked == []
        assert world.register(small.OLD, "u3").registration.state is State.VERIFIED
        assert said.asked == [small.OLD]


@pytest.mark.parametrize(
    "fields",
    [
        {"policy": {**POLICY, "live": False}},
        {"agreed": lambda _service, _operator_id: False},
        {"methods": "code"},
        {"methods": "code,operator"},
    ],
    ids=["the policy has it off", "no agreement", "not by the operator", "a code comes first"],
)
def test_nobody_is_asked_who_need_not_be(data_dir: Path, fields: dict[str, object]) -> None:
    """I.5: without an agreement not even a question."""
    said = Said(saying(True))
    with world_of(data_dir, said, **fields) as world:
        assert world.register(NUMBER).registration.state is State.PENDING
    assert said.asked == []


def test_a_repetition_and_what_cannot_be_started_ask_nobody(data_dir: Path) -> None:
    said = Said(saying(True))
    with world_of(data_dir, said) as world:
        for _ in range(2):
            world.register(NUMBER, request_id="r1")
        assert said.asked == [NUMBER]
        assert start(world, method=Method.OPERATOR).registration.state is State.VERIFIED
        assert said.asked == [NUMBER] * 2
        world.pass_time(days=366)
        Calendar(world.registrations).pass_time(world.now)
        with pytest.raises(WrongState):
            start(world, method=Method.OPERATOR)
        assert said.asked == [NUMBER] * 2


def test_verifying_all_again_asks_nobody(data_dir: Path) -> None:
    said = Said(saying(True))
    with world_of(data_dir, said) as world:
        world.register(NUMBER)
        said.asked.clear()
        list(world.reverifier.run(SERVICE, due_before=None, place=b""))
        assert world.registrar.get(SERVICE, "u1").state is State.VERIFIED
    assert said.asked == []


def test_the_question_is_asked_outside_of_transactions(data_dir: Path) -> None:
    """Another user is registered while the operator thinks."""

    class Slow(Said):
        def ask(self, service: str, operator: Operator, number: int) -> LiveAnswer | None:
            if number == NUMBER:
                assert world.register(small.ACTIVE, "u2").registration.state is State.VERIFIED
            return saying(True)

    with world_of(data_dir, Slow()) as world:
        assert world.register(NUMBER).registration.state is State.VERIFIED
        assert world.registrar.get(SERVICE, "u2").state is State.VERIFIED


# --- a node


def test_a_node_asks_an_operator_over_tls_with_a_certificate_of_its_own(data_dir: Path, tmp_path: Path) -> None:
    """As [operators.TAX_ID] and [services.NAME] say; a service without it goes on to a code."""
    authority = Authority(tmp_path / "authority")
    server, client = authority.issue("operator"), authority.issue("numcheck")
    credentials = grpc.ssl_server_credentials(
        [(server.key.read_bytes(), server.certificate.read_bytes())], authority.file.read_bytes(), True
    )
    config = tmp_path / "numcheck.toml"
    with operator_serving(credentials) as theirs:
        config.write_text(
            'verification_methods = "operator,code"\n'
            f"[services.messenger]\nlive_question = true\n[operators.{small.SCARTEL}]\n"
            f'endpoint = "127.0.0.1:{theirs.port}"\nauthority_file = "{authority.file}"\n'
            f'certificate_file = "{client.certificate}"\nkey_file = "{client.key}"\n'
        )
        with serving(data_dir, "--config", config) as node, grpc.insecure_channel(node.address) as channel:
            stub = RegistrationServiceStub(channel)
            made = stub.Register(register_request("messenger", NUMBER)).registration
            other = stub.Register(register_request("other", NUMBER)).registration
    assert made.state == registration_pb2.REGISTRATION_STATE_VERIFIED
    assert other.state == registration_pb2.REGISTRATION_STATE_PENDING
    (evidence,) = made.evidence
    assert evidence.live
    assert evidence.asked_at.ToDatetime(UTC) <= evidence.verified_at.ToDatetime(UTC) <= datetime.now(UTC)
    assert [number for number, _ in theirs.asked] == [NUMBER]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("endpoint = 'operator:443'", "operators.7: an endpoint beyond loopback needs"),
        ("endpoint = '127.0.0.1'", "operators.7: endpoint must be host:port"),
        ("endpoint = '127.0.0.1:0'", "operators.7: endpoint must be host:port"),
        ("endpoint = '127.0.0.1:1'\nkey_file = 'key'", "operators.7: authority_file, certificate_file"),
        ("endpoint = '127.0.0.1:1'\nkeys = 'key'", "there is no setting operators.7.keys"),
        ("", "operators.7.endpoint: field required"),
    ],
)
def test_an_operators_table_is_refused_with_what_is_bad(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "numcheck.toml"
    path.write_text(f"[operators.7]\n{text}\n")
    with pytest.raises(BadConfiguration) as refused:
        load_settings(path)
    assert str(refused.value).startswith(reason)


def test_files_of_an_operators_table_that_are_missing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "numcheck.toml"
    files = "".join(f"{name} = '{tmp_path}/none'\n" for name in ("authority_file", "certificate_file", "key_file"))
    path.write_text(f"[operators.7]\nendpoint = 'operator:443'\n{files}")
    with pytest.raises(BadConfiguration, match=r"operators\.7"):
        enquiries_of(load_settings(path))
