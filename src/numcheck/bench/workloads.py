"""The calls of each method of the table of methods: bodies that are made before a run, and what they need to be there.

A method without a workload has a reason. A test holds both tables together to the table of methods.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from google.rpc import code_pb2

from numcheck.bench.generator import Target, calls_of, framed, try_call
from numcheck.client import RegistrationClient
from numcheck.client.channel import open_channel
from numcheck.timestamps import timestamp
from numcheck.v1 import audit_pb2, caller_pb2, check_pb2, number_pb2, numbering_pb2
from numcheck.v1 import registration_pb2 as pb

FIRST, LAST = 79_000_000_000, 79_999_999_999  # every mobile number of the bundled plan, and those between its ranges
SERVICE, AUTHORITY, DATA = "bench", "bench", {"name": "bench"}
PLACE = pb.NetworkAddress(address="127.0.0.1", port=1)
CHECK, NUMBERING = "/numcheck.v1.CheckService", "/numcheck.v1.NumberingService"
REGISTRATION, CALLER = "/numcheck.v1.RegistrationService", "/numcheck.v1.CallerService"
AUDIT, EDITION = "/numcheck.v1.AuditService", "/numcheck.v1.EditionService"
CHECK_NUMBERS = f"{CHECK}/CheckNumbers"
REGISTER, GET_REGISTRATION = f"{REGISTRATION}/Register", f"{REGISTRATION}/GetRegistration"
START, COMPLETE = f"{REGISTRATION}/StartVerification", f"{REGISTRATION}/CompleteVerification"
REFRESH = f"{REGISTRATION}/RefreshRegistration"

BODIES_MAX = 4_096  # of a run that may repeat them
NUMBERS_MAX = 1_000_000  # in all bodies of a run together: 8 MB of requests
STREAM_LENGTH, IMPORT_ROWS, PREPARING_THREADS = 100, 200, 32
PREPARING_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # longer together than gRPC waits to connect again
PASSING = (code_pb2.RESOURCE_EXHAUSTED, code_pb2.UNAVAILABLE)
SAMPLE_SIZE, SAMPLES_MAX = 65_536, 40
BLOCK, BLOCKS_ASKED, BLOCKS_MAX = 10_000, 6, 24  # numbers; blocks in a request, and in all

NODE_SETTINGS = {
    # A registration is verified at once, and an attested act can be measured: no code has to be sent or read.
    "NUMCHECK_VERIFICATION_METHODS": "operator,attested",
    "NUMCHECK_ATTESTING_AUTHORITIES": AUTHORITY,
    # The same active numbers serve for as many users as are wanted.
    "NUMCHECK_USERS_PER_NUMBER_MAX": "1000000",
}
"""Settings of a node that is started to be measured, where they are not the defaults."""


@dataclass
class World:
    """Numbers and users that calls can be about, on the node that is measured."""

    target: Target
    active: list[int] = field(default_factory=list)
    operator_ids: list[int] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    """Users who are registered."""
    callers: list[str] = field(default_factory=list)
    agreements: list[str] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    places: Iterator[int] = field(default_factory=count)

    def name(self, kind: str) -> str:
        """Return a name that nothing has had."""
        return f"{kind}-{self.chance.getrandbits(48):012x}-{next(self.places)}"

    def number(self) -> str:
        """Return an active number, as a person writes it."""
        return f"+{self.active[next(self.places) % len(self.active)]}"

    def random_numbers(self, size: int) -> list[int]:
        """Return numbers of the plan's mix: allotted or not, active or not."""
        return self.chance.choices(range(FIRST, LAST + 1), k=size)


class Asked(NamedTuple):
    """Some numbers as a node has them: those that are active, and those of an operator that are not, with it."""

    active: list[int]
    inactive: list[tuple[int, int]]


def ask_about(target: Target, numbers: Sequence[int]) -> Asked:
    """Ask a node about numbers."""
    request = check_pb2.CheckNumbersRequest(numbers=numbers).SerializeToString()
    with open_channel(target.address, target.security) as channel:
        answer = check_pb2.CheckNumbersResponse.FromString(calls_of(channel, CHECK_NUMBERS)(request, timeout=60))
    found = Asked([], [])
    for number, status, operator_id in zip(numbers, answer.statuses, answer.operator_ids, strict=True):
        if status == number_pb2.NUMBER_STATUS_ACTIVE:
            found.active.append(number)
        elif status == number_pb2.NUMBER_STATUS_INACTIVE and operator_id:
            found.inactive.append((number, operator_id))
    return found


def world_of(target: Target) -> World:
    """Ask a node for numbers that are active, and for its operators; RuntimeError if it has none."""
    with open_channel(target.address, target.security) as channel:
        answer = calls_of(channel, f"{CHECK}/ListOperators")(b"", timeout=60)
    operators = check_pb2.ListOperatorsResponse.FromString(answer).operators
    active = _active_numbers(target, random.Random(2))
    if not active or not operators:
        raise RuntimeError("the node knows no active mobile number of Russia, so that there is nothing to ask it about")
    return World(target, active, [one.operator_id for one in operators])


def _active_numbers(target: Target, chance: random.Random) -> list[int]:
    """Return active numbers: some are found by chance, and then those of their blocks, as operators fill blocks up."""
    found: list[int] = []
    for _ in range(SAMPLES_MAX):
        found = ask_about(target, chance.sample(range(FIRST, LAST + 1), SAMPLE_SIZE)).active
        if found:
            break
    blocks = sorted({number // BLOCK for number in found})[:BLOCKS_MAX]
    active = []
    for start in range(0, len(blocks), BLOCKS_ASKED):
        some = blocks[start : start + BLOCKS_ASKED]
        active += ask_about(target, [number for one in some for number in range(one * BLOCK, (one + 1) * BLOCK)]).active
    chance.shuffle(active)
    return active


def _ask_each(world: World, path: str, requests: Sequence[Any]) -> list[bytes]:
    """Make calls that a workload needs to have been made; return the answers, and nothing for those refused."""
    with (
        open_channel(world.target.address, world.target.security) as channel,
        ThreadPoolExecutor(PREPARING_THREADS) as threads,
    ):
        answers = threads.map(partial(_patiently, calls_of(channel, path)), requests)
        return [answer for answer in answers if isinstance(answer, bytes)]


def _patiently(call: Callable[..., bytes], request: Any) -> bytes | int:
    """Return the answer of a call, or its status; one that the node cannot take now, as after a flood, is repeated."""
    answer: bytes | int = code_pb2.UNKNOWN
    for wait_s in PREPARING_WAITS_S:
        answer = try_call(call, request.SerializeToString())
        if answer not in PASSING:
            break
        time.sleep(wait_s)
    return answer


# --- bodies: so many requests of a method


def checks(world: World, wanted: int, size: int = 1) -> list[Any]:
    """Make requests of so many random numbers each."""
    return [check_pb2.CheckNumbersRequest(numbers=world.random_numbers(size)) for _ in range(wanted)]


def bodies_of_checks(world: World, size: int) -> list[bytes]:
    """Bodies of CheckNumbers that differ, as many as a run repeats."""
    wanted = max(4, min(BODIES_MAX, NUMBERS_MAX // size))
    return [framed(request.SerializeToString()) for request in checks(world, wanted, size)]


def _check_number(world: World, wanted: int) -> list[Any]:
    return [check_pb2.CheckNumberRequest(number=f"+{number}") for number in world.random_numbers(wanted)]


def _recycled(world: World, wanted: int) -> list[Any]:
    since = int(datetime.now(UTC).timestamp()) - 86_400
    return [
        check_pb2.CheckRecycledRequest(numbers=world.random_numbers(100), since_unix_s=[since]) for _ in range(wanted)
    ]


def _operator_states(world: World, wanted: int) -> list[Any]:
    ids = world.chance.choices(world.operator_ids, k=wanted)
    return [numbering_pb2.GetOperatorStateRequest(operator_id=one, without_digest=True) for one in ids]


def register(world: World, wanted: int) -> list[Any]:
    """Registrations of new users on active numbers."""
    return [
        pb.RegisterRequest(
            service=SERVICE,
            user_id=world.name("user"),
            number=world.number(),
            network_address=PLACE,
            registration_data=DATA,
        )
        for _ in range(wanted)
    ]


def _of_users(make: Callable[[World, str], Any]) -> Callable[[World, int], list[Any]]:
    def requests(world: World, wanted: int) -> list[Any]:
        return [make(world, user_id) for user_id in world.chance.choices(world.users, k=wanted)]

    return requests


def _get(_world: World, user_id: str) -> Any:
    return pb.GetRegistrationRequest(service=SERVICE, user_id=user_id)


def _refresh(_world: World, user_id: str) -> Any:
    return pb.RefreshRegistrationRequest(
        service=SERVICE, user_id=user_id, registration_data=DATA, network_address=PLACE
    )


def _start(_world: World, user_id: str) -> Any:
    return pb.StartVerificationRequest(
        service=SERVICE, user_id=user_id, method=pb.VERIFICATION_METHOD_ATTESTED, network_address=PLACE
    )


def _change(world: World, user_id: str) -> Any:
    return pb.ChangeNumberRequest(service=SERVICE, user_id=user_id, number=world.number(), network_address=PLACE)


def _complete(world: World, wanted: int) -> list[Any]:
    """Attested acts, for verifications that are begun here."""
    users = world.chance.sample(world.users, min(wanted, len(world.users)))
    answers = _ask_each(world, START, [_start(world, user_id) for user_id in users])
    started = [pb.StartVerificationResponse.FromString(answer).verification for answer in answers]
    now = timestamp(datetime.now(UTC))
    return [
        pb.CompleteVerificationRequest(
            service=SERVICE,
            verification_id=one.verification_id,
            attested_act=pb.AttestedAct(authority=AUTHORITY, assertion_id=world.name("act"), attested_at=now),
        )
        for one in started
    ]


def _delete(world: World, wanted: int) -> list[Any]:
    """Erasures of at most half of the users, who are the world's no more."""
    gone = world.users[: min(wanted, len(world.users) // 2)]
    del world.users[: len(gone)]
    return [pb.DeleteRegistrationRequest(service=SERVICE, user_id=user_id) for user_id in gone]


def _row(world: World, user_id: str) -> pb.ImportedRegistration:
    now = timestamp(datetime.now(UTC))
    return pb.ImportedRegistration(
        user_id=user_id,
        number=world.number(),
        network_address=PLACE,
        registration_data=DATA,
        registered_at=now,
        possession_proved_at=now,
    )


def _import(world: World, wanted: int) -> list[list[Any]]:
    """Make imports of their own, each of some rows."""
    return [
        [
            pb.ImportRegistrationsRequest(header=pb.ImportHeader(service=SERVICE, import_id=world.name("import"))),
            pb.ImportRegistrationsRequest(rows=[_row(world, world.name("user")) for _ in range(IMPORT_ROWS)]),
        ]
        for _ in range(wanted)
    ]


def add_users(world: World, wanted: int) -> None:
    """Have so many more users registered, by an import."""
    users = [world.name("user") for _ in range(wanted)]
    with RegistrationClient(world.target.address, SERVICE, world.target.security) as client:
        for _ in client.import_registrations(
            world.name("import"), lambda place: (_row(world, user_id) for user_id in users[place:])
        ):
            pass
    world.users += users


def _list(_world: World, _wanted: int) -> list[Any]:
    return [pb.ListRegistrationsRequest(service=SERVICE, page_size=100)]


def _add_callers(world: World, wanted: int) -> list[Any]:
    uris = [f"bench://{world.name('auditor')}" for _ in range(wanted)]
    world.callers += uris
    return [
        caller_pb2.AddCallerRequest(caller=caller_pb2.Caller(uri=uri, role=caller_pb2.ROLE_AUDITOR)) for uri in uris
    ]


def _caller(world: World) -> str:
    """Return a caller who is there, added now."""
    (request,) = _add_callers(world, 1)
    _ask_each(world, f"{CALLER}/AddCaller", [request])
    return str(request.caller.uri)


def _issue_tokens(world: World, _wanted: int) -> list[Any]:
    return [caller_pb2.IssueTokenRequest(uri=_caller(world))]


def _revoke_callers(world: World, wanted: int) -> list[Any]:
    requests = _add_callers(world, wanted)
    _ask_each(world, f"{CALLER}/AddCaller", requests)
    return [caller_pb2.RevokeCallerRequest(uri=request.caller.uri) for request in requests]


def _add_agreements(world: World, wanted: int) -> list[Any]:
    return [
        caller_pb2.AddAgreementRequest(
            agreement=caller_pb2.Agreement(service=world.name("s"), operator_id=world.operator_ids[0])
        )
        for _ in range(wanted)
    ]


def _end_agreements(world: World, wanted: int) -> list[Any]:
    requests = _add_agreements(world, wanted)
    _ask_each(world, f"{CALLER}/AddAgreement", requests)
    return [caller_pb2.EndAgreementRequest(agreement=request.agreement) for request in requests]


def _empty(_world: World, _wanted: int) -> list[Any]:
    return [b""]


def _held_pushes(_world: World, _wanted: int) -> list[Any]:
    return [numbering_pb2.ListHeldPushesRequest()]


def _stream(world: World, wanted: int) -> list[list[Any]]:
    return [checks(world, STREAM_LENGTH) for _ in range(min(wanted, BODIES_MAX // 16))]


class Workload(NamedTuple):
    """How a method is measured. `requests` gives so many requests, or lists of requests of one stream."""

    requests: Callable[[World, int], list[Any]]
    once: bool = False
    """Each request can be answered once only."""
    writes: bool = False
    """The node's data changes: never asked of a node that others use."""
    per_second: int = BODIES_MAX
    """How many requests to prepare for each second of a run, where each can be sent once."""
    alone: bool = False
    """Measured by one call at a time alone: it goes through everything that there is, or an administrator makes it."""
    items: int = 1
    """Numbers, or rows, in a call."""
    streams: bool = False
    """A call has several requests or answers, which the plain client cannot take part in."""

    def bodies(self, world: World, seconds: float) -> list[bytes]:
        """Return bodies for a run."""
        wanted = max(1, int(self.per_second * seconds)) if self.once else BODIES_MAX // max(1, self.items)
        return [body_of(request) for request in self.requests(world, wanted)]


def body_of(request: Any) -> bytes:
    """Return the body of a call: one message, or those of a stream."""
    if isinstance(request, list):
        return b"".join(map(body_of, request))
    return framed(request if isinstance(request, bytes) else request.SerializeToString())


WORKLOADS: dict[str, Workload] = {
    CHECK_NUMBERS: Workload(checks),
    f"{CHECK}/CheckNumber": Workload(_check_number),
    f"{CHECK}/StreamCheckNumbers": Workload(_stream, items=STREAM_LENGTH, streams=True),
    f"{CHECK}/CheckRecycled": Workload(_recycled, items=100),
    f"{CHECK}/ListOperators": Workload(_empty),
    f"{NUMBERING}/GetOperatorState": Workload(_operator_states),
    f"{NUMBERING}/ListHeldPushes": Workload(_held_pushes),
    REGISTER: Workload(register, once=True, writes=True, per_second=6_000),
    GET_REGISTRATION: Workload(_of_users(_get), writes=True),  # of users who were registered for it
    f"{REGISTRATION}/ListRegistrations": Workload(_list, writes=True, items=100),
    f"{REGISTRATION}/SummarizeRegistrations": Workload(
        lambda *_: [pb.SummarizeRegistrationsRequest(service=SERVICE)], alone=True
    ),
    REFRESH: Workload(_of_users(_refresh), writes=True),
    START: Workload(_of_users(_start), writes=True),
    COMPLETE: Workload(_complete, once=True, writes=True, per_second=3_000),
    f"{REGISTRATION}/ChangeNumber": Workload(_of_users(_change), writes=True),
    f"{REGISTRATION}/DeleteRegistration": Workload(_delete, once=True, writes=True, per_second=4_000),
    f"{REGISTRATION}/ImportRegistrations": Workload(
        _import, once=True, writes=True, per_second=60, alone=True, items=IMPORT_ROWS, streams=True
    ),
    f"{REGISTRATION}/ReverifyRegistrations": Workload(
        lambda *_: [pb.ReverifyRegistrationsRequest(service=SERVICE)], writes=True, alone=True, streams=True
    ),
    f"{CALLER}/AddCaller": Workload(_add_callers, once=True, writes=True, per_second=200, alone=True),
    f"{CALLER}/ListCallers": Workload(lambda *_: [caller_pb2.ListCallersRequest()], alone=True),
    f"{CALLER}/IssueToken": Workload(_issue_tokens, writes=True, alone=True),
    f"{CALLER}/RevokeCaller": Workload(_revoke_callers, once=True, writes=True, per_second=75, alone=True),
    f"{CALLER}/AddAgreement": Workload(_add_agreements, once=True, writes=True, per_second=200, alone=True),
    f"{CALLER}/EndAgreement": Workload(_end_agreements, once=True, writes=True, per_second=75, alone=True),
    f"{AUDIT}/GetHead": Workload(lambda *_: [audit_pb2.GetHeadRequest()]),
    f"{AUDIT}/ExportEvents": Workload(lambda *_: [audit_pb2.ExportEventsRequest()], alone=True, streams=True),
    f"{AUDIT}/ListRowDigests": Workload(lambda *_: [audit_pb2.ListRowDigestsRequest()], alone=True, streams=True),
    "/grpc.health.v1.Health/Check": Workload(_empty),
    # A ServerReflectionRequest with list_services, its field 7, empty.
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Workload(lambda *_: [b"\x3a\x00"]),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Workload(lambda *_: [b"\x3a\x00"]),
}
"""By method, in the order in which they are measured: registering comes before what is asked of users."""

HELD_OPEN = "held open for as long as its caller listens: it costs when something changes"
PUSHED = "each push follows the one before: measured as the time until a push is visible"
NOT_CALLED: dict[str, str] = {
    f"{NUMBERING}/PushActiveNumbers": PUSHED,
    f"{NUMBERING}/PushPortings": PUSHED,
    f"{NUMBERING}/ConfirmPush": "a person confirms a push, now and then",
    f"{NUMBERING}/RejectHeldPush": "a person rejects a push, now and then",
    f"{NUMBERING}/ImportNumberingPlan": "the regulator's files change a few times a month",
    f"{NUMBERING}/WatchIdentifications": HELD_OPEN,
    f"{NUMBERING}/WatchIndex": HELD_OPEN,
    f"{REGISTRATION}/WatchRegistrations": HELD_OPEN,
    f"{EDITION}/WatchEditions": HELD_OPEN,
    f"{EDITION}/FetchFile": "a follower fetches a file once for each edition: it costs what its bytes cost to send",
    "/grpc.health.v1.Health/Watch": HELD_OPEN,
}
"""Methods that are not measured as a rate of calls, and why."""


def by_python(path: str) -> bool:
    """Return True if Python answers a method: on one core at a time."""
    return not path.endswith(("/CheckNumbers", "/StreamCheckNumbers", "/CheckNumber", "/Health/Check"))


def short(path: str) -> str:
    """Return a method's name, and with those that are not ours the package that it is from."""
    service, _, method = path[1:].partition("/")
    package = service.rpartition(".")[0].removeprefix("grpc.")
    return method if service.startswith("numcheck.") else f"{package}/{method}"


def measured_methods(*, writes: bool, streams: bool = True) -> list[str]:
    """Return the methods that are measured on a node that may be written to, or may not, by a client of streams or of
    none."""
    return [path for path, one in WORKLOADS.items() if (writes or not one.writes) and (streams or not one.streams)]
