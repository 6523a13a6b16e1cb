"""R11: nothing that tells who a user is in any line, error, event or status, however much is logged, whatever fails."""

import base64
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import call_raw, refusal
from tests.registrations.test_delivery import KEY, Gateway, gateway  # noqa: F401
from tests.serving import small
from tests.serving.collector import collecting
from tests.serving.command import run, serving

# The command with every logger of the process at its lowest level, the database's, the HTTP client's and our own, and
# with libraries' own words, which a node keeps to itself otherwise.
DEBUGGING = (
    sys.executable,
    "-c",
    "import logging; logging.basicConfig(level=logging.DEBUG);"
    "logging.getLogger('sqlalchemy.engine').setLevel(logging.DEBUG);"
    "import numcheck.serving.logs as logs; logs.take_over = lambda: None;"
    "from numcheck.cli import main; main()",
    "serve",
)
NUMBER, INVALID_NUMBER = small.UNKNOWN + 7_319, "79137319731973197319"
USER, LOGIN, NAME, REQUEST, ASSERTION = (
    "canary-user",
    "canary-login",
    "Канарейкин",
    "canary-request",
    "canary-assertion",
)
ADDRESS, ADDRESS6, NO_ADDRESS = "198.51.100.213", "2001:db8:ca1:1ab1e::7", "canary.address.example"
TOKEN = "canary-token"
CANARIES = (
    str(NUMBER)[1:],
    INVALID_NUMBER[1:],
    USER,
    LOGIN,
    NAME,
    REQUEST,
    ASSERTION,
    ADDRESS,
    "canary.address",
    TOKEN,
)


def forms() -> Iterator[str]:
    """Each canary as a careless line might have it."""
    for canary in CANARIES:
        yield canary
        yield canary.encode("unicode_escape").decode()
        yield repr(canary.encode())[2:-1]
        yield canary.encode().hex()
        yield base64.b64encode(canary.encode()).decode().rstrip("=")[:-1]
    yield from (f"{NUMBER:x}", "ca1:1ab1e", "0ca1:1ab1")


def request(**fields: Any) -> pb.RegisterRequest:
    return pb.RegisterRequest(
        **{
            "service": "messenger",
            "request_id": REQUEST,
            "user_id": USER,
            "identifier": {LOGIN: LOGIN},
            "number": f"+{NUMBER}",
            "network_address": pb.NetworkAddress(address=ADDRESS, port=50_812),
            "registration_data": {NAME: NAME},
            **fields,
        }
    )


def failing(stub: RegistrationServiceStub, channel: grpc.Channel, verification_id: str) -> Iterator[Callable[[], Any]]:
    """Calls that are refused, with canaries in every field that there is."""
    moment, address = Timestamp(seconds=2**31), pb.NetworkAddress(address=ADDRESS, port=1)
    own = {"service": "messenger", "user_id": USER}
    nobody = {"service": "messenger", "user_id": USER + USER}
    broken: list[dict[str, Any]] = [
        {"number": INVALID_NUMBER},
        {"number": f"{NAME}{NUMBER}{NAME}"},
        {"number": "+7495" + str(NUMBER)[4:]},
        {"user_id": USER * 50},
        {"user_id": ""},
        {"request_id": REQUEST * 50},
        {"request_id": REQUEST + "2"},
        {"service": NAME * 50},
        {"identifier": {LOGIN: LOGIN * 500}},
        {"registration_data": {NAME: NAME * 2_000}},
        {"registration_data": {}},
        {"network_address": pb.NetworkAddress(address=NO_ADDRESS, port=1)},
        {"network_address": pb.NetworkAddress(address=ADDRESS6 + "%canary-login", port=1)},
        {"network_address": pb.NetworkAddress(address=ADDRESS6, port=99_999)},
        {"network_address": None},
        {"code_channel": 9},
    ]
    yield from (lambda one=one: stub.Register(request(**one)) for one in broken)
    yield lambda: stub.GetRegistration(pb.GetRegistrationRequest(**nobody))
    yield lambda: stub.DeleteRegistration(pb.DeleteRegistrationRequest(**nobody))
    yield lambda: stub.StartVerification(pb.StartVerificationRequest(**nobody, network_address=address))
    yield lambda: stub.StartVerification(pb.StartVerificationRequest(**own, network_address=address))  # too soon
    yield lambda: stub.StartVerification(pb.StartVerificationRequest(**own, method=1))  # not of the policy
    yield lambda: stub.RefreshRegistration(
        pb.RefreshRegistrationRequest(**nobody, network_address=address, registration_data={NAME: NAME})
    )
    wanted: list[dict[str, Any]] = [
        {**nobody, "number": f"+{NUMBER}"},
        {**own, "number": INVALID_NUMBER},
        {**own, "number": INVALID_NUMBER[:3] + NAME},
        {**own, "number": f"+{NUMBER}", "request_id": REQUEST * 50},
    ]
    yield from (
        lambda one=one: stub.ChangeNumber(pb.ChangeNumberRequest(**one, network_address=address)) for one in wanted
    )
    yield lambda: stub.ListRegistrations(
        pb.ListRegistrationsRequest(service="messenger", number=INVALID_NUMBER[:3] + NAME)
    )
    yield lambda: stub.ListRegistrations(pb.ListRegistrationsRequest(service="messenger", page_token=TOKEN))
    proofs: list[dict[str, Any]] = [
        {},
        {"code": f"{USER}{NUMBER}"},
        {"inbound_act": pb.InboundAct(from_number=f"+{NUMBER}", text=NAME, received_at=moment)},
        {"inbound_act": pb.InboundAct(from_number=NAME, text=NAME, received_at=moment)},
        {"inbound_act": pb.InboundAct(from_number=f"+{NUMBER}", text=NAME)},
        {"attested_act": pb.AttestedAct(authority="esia", assertion_id=ASSERTION * 40, attested_at=moment)},
        {"attested_act": pb.AttestedAct(authority=NAME, assertion_id=ASSERTION, attested_at=moment)},
    ]
    for fields in proofs:
        for one in (verification_id, TOKEN):
            yield lambda fields=fields, one=one: stub.CompleteVerification(
                pb.CompleteVerificationRequest(service="messenger", verification_id=one, **fields)
            )
    yield lambda: list(stub.WatchRegistrations(pb.WatchRegistrationsRequest(service="messenger", resume_token=TOKEN)))
    yield lambda: list(
        stub.ReverifyRegistrations(pb.ReverifyRegistrationsRequest(service="messenger", resume_token=TOKEN))
    )
    imports: list[dict[str, Any]] = [
        {"header": pb.ImportHeader(service=NAME * 50, import_id=REQUEST)},
        {"header": pb.ImportHeader(service="messenger", import_id=REQUEST * 50)},
        {"rows": [pb.ImportedRegistration(user_id=USER, number=f"+{NUMBER}", registration_data={NAME: NAME})]},
    ]
    for fields in imports:
        yield lambda fields=fields: list(stub.ImportRegistrations(iter([pb.ImportRegistrationsRequest(**fields)])))
    for method in ("Register", "CompleteVerification", "RefreshRegistration", "ChangeNumber"):
        body = request().SerializeToString()
        for cut in (body[:-3], b"\xff" + body):
            yield lambda method=method, cut=cut: call_raw(channel, method, cut, "/numcheck.v1.RegistrationService")


def test_no_line_error_or_event_tells_who_a_user_is_whatever_fails(
    gateway: Gateway,  # noqa: F811
    data_dir: Path,
    tmp_path: Path,
) -> None:
    """Every refusal, a gateway that fails, refuses and is gone, a code, an assertion and an erasure: 0 hits."""
    secret = tmp_path / "gateway.key"
    secret.write_bytes(KEY)
    env = {
        "NUMCHECK_CODE_DELIVERY": gateway.url,
        "NUMCHECK_CODE_DELIVERY_SECRET_FILE": str(secret),
        "NUMCHECK_VERIFICATION_METHODS": "code,inbound,attested",
        "NUMCHECK_ATTESTING_AUTHORITIES": "esia",
    }
    told: list[str] = []
    with (
        collecting() as collector,
        serving(data_dir, env=env | collector.env, command=DEBUGGING) as node,
        grpc.insecure_channel(node.address) as channel,
    ):
        stub = RegistrationServiceStub(channel)
        made = stub.Register(request())
        told += [repr(refusal(call)) for call in failing(stub, channel, made.verification.verification_id)]
        for place, status in enumerate((500, 400, 302), start=1):
            gateway.answers = [status]
            other = request(user_id=f"{USER}{place}", number=f"+{NUMBER + place * 10_000}")
            told.append(stub.Register(other).verification_problem)
        assert told[-3:] == ["DELIVERY_FAILED"] * 3
        start = pb.StartVerificationRequest(
            service="messenger", user_id=USER, method=pb.VERIFICATION_METHOD_ATTESTED, network_address=None
        )
        attested_at = Timestamp()
        attested_at.GetCurrentTime()
        act = pb.AttestedAct(authority="esia", assertion_id=ASSERTION, attested_at=attested_at)
        complete = pb.CompleteVerificationRequest(
            service="messenger", verification_id=stub.StartVerification(start).verification.verification_id
        )
        complete.attested_act.CopyFrom(act)
        assert stub.CompleteVerification(complete).registration.evidence[0].assertion_id == ASSERTION
        stub.DeleteRegistration(pb.DeleteRegistrationRequest(service="messenger", user_id=USER))
        told += [run(*words, "--data-dir", data_dir).out for words in (("status",), ("events", "export"))]
        assert {"rules", "store", "courier"} <= {span.name for span in collector.until("courier")}
        node.process.signal(signal.SIGTERM)
        assert node.process.wait() == 0
        told.append(collector.text)
    lines = "\n".join(node.process.lines)
    assert len(re.findall("DEBUG:httpcore", lines)) > 20
    assert len(re.findall("sqlalchemy.engine", lines)) > 100
    codes = {json.loads(one.body)["code"] for one in gateway.got}
    assert len(codes) >= 4
    for text in (lines, *told):
        found = [form for form in forms() if form in text]
        assert not found, [line for line in text.splitlines() if found[0] in line]
        assert not [code for code in codes if re.search(rf"(?<![\w.]){code}(?![\w.])", text)]
