"""Codes over SMPP, against the SMSC of npm's smpp, which nobody here wrote."""

import logging
import queue
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread

import grpc
import pytest
import structlog

from numcheck.config import Settings
from numcheck.delivery import smpp
from numcheck.delivery.smpp import SmppCourier
from numcheck.delivery.smpp_link import Account
from numcheck.errors import BadConfiguration, DeliveryFailed
from numcheck.serving.couriers import delivery_of
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.delivery.messages import CODE, Reported, message_of
from tests.delivery.smsc import Smsc, install, smsc_running
from tests.registrations.test_service import register_request
from tests.serving import small
from tests.serving.command import serving

LIFETIME = timedelta(seconds=300)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("npm")
    install(directory)
    return directory


@pytest.fixture
def smsc(package: Path) -> Iterator[Smsc]:
    with smsc_running(package) as one:
        yield one


def courier_to(
    port: int, *, source: str = "numcheck", at_once: int = 2, reports: Reported | None = None
) -> SmppCourier:
    account = Account("127.0.0.1", port, "numcheck", "secret")
    return SmppCourier(
        account,
        source=source,
        lifetime=LIFETIME,
        sends_at_once_max=at_once,
        reports=reports or Reported(),
    )


@pytest.fixture
def courier(smsc: Smsc) -> Iterator[SmppCourier]:
    one = courier_to(smsc.port)
    smsc.next("bound")
    yield one
    one.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not come is waited for only shortly."""
    monkeypatch.setattr(smpp, "ANSWER_TIMEOUT_S", 0.2)


def send(courier: SmppCourier, number: int = small.ACTIVE, *, text: str = "Code: {code}") -> None:
    courier.send(message_of(number, text=text))


def test_a_code_is_submitted_whole(smsc: Smsc, courier: SmppCourier) -> None:
    """To the number in its international form, from the agreed sender, valid no longer than the code."""
    send(courier)
    told = smsc.next("submitted")
    validity_ms = float(told.pop("validity"))
    assert told == {
        "event": "submitted",
        "destination": str(small.ACTIVE),
        "ton": 1,
        "npi": 1,
        "source": "numcheck",
        "source_ton": 5,
        "text": f"Code: {CODE}",
        "coding": 0,
        "receipt": 1,
    }
    # npm's smpp makes a moment of it, whose seconds are whole.
    assert 0 < validity_ms <= LIFETIME.total_seconds() * 1_000


def test_the_link_is_bound_as_version_3_4_and_unbound_at_the_end(smsc: Smsc) -> None:
    courier = courier_to(smsc.port)
    assert smsc.next("bound")["version"] == 0x34
    send(courier)
    courier.close()
    smsc.next("unbound")


@pytest.mark.parametrize(
    ("message", "coding"), [("Код: {code}", 8), ("[{code}]", 8), ("100% yours: {code}", 0), ("{code}", 0)]
)
def test_the_text_arrives_in_an_alphabet_that_has_its_letters(smsc: Smsc, message: str, coding: int) -> None:
    courier = courier_to(smsc.port)
    send(courier, text=message)
    told = smsc.next("submitted")
    courier.close()
    assert (told["text"], told["coding"]) == (message.replace("{code}", CODE), coding)


@pytest.mark.parametrize(
    ("source", "address", "ton"), [("+79161234567", "79161234567", 1), ("1234", "1234", 0), ("Bank 24", "Bank 24", 5)]
)
def test_the_sender_has_the_kind_that_its_looks_say(smsc: Smsc, source: str, address: str, ton: int) -> None:
    courier = courier_to(smsc.port, source=source)
    send(courier)
    told = smsc.next("submitted")
    courier.close()
    assert (told["source"], told["source_ton"]) == (address, ton)


@pytest.mark.parametrize("status", ["ESME_RTHROTTLED", "ESME_RMSGQFUL", "ESME_RINVDSTADR", "ESME_RSYSERR"])
def test_a_refusal_fails_the_delivery_and_nothing_is_repeated(smsc: Smsc, courier: SmppCourier, status: str) -> None:
    smsc.order(status=status)
    with pytest.raises(DeliveryFailed, match=status) as caught:
        send(courier)
    assert not {str(small.ACTIVE), CODE} & set(str(caught.value).split())
    assert [told["event"] for told in smsc.order(status="ESME_ROK")] == ["submitted"]
    send(courier)


def test_a_status_of_the_vendors_own_fails_that_delivery_alone(smsc: Smsc, courier: SmppCourier) -> None:
    """0x400 and above are the vendors' (SMPP 3.4, 5.1.3)."""
    smsc.order(status=str(0x501))
    with pytest.raises(DeliveryFailed, match="0x501"):
        send(courier)
    assert smsc.order(status="ESME_ROK")[0]["event"] == "submitted"
    send(courier)
    smsc.next("submitted")


@pytest.mark.usefixtures("impatient")
def test_a_code_that_is_not_answered_counts_as_sent_and_is_not_repeated(smsc: Smsc, courier: SmppCourier) -> None:
    """R10: whether it was taken cannot be known. A new link does not send it again either."""
    smsc.order(silent=True)
    with pytest.raises(DeliveryFailed):
        send(courier)
    smsc.next("submitted")
    smsc.order(silent=False, drop=True)
    smsc.next("bound")
    assert smsc.untold() == []


def test_a_link_that_breaks_fails_what_was_sent_and_comes_back(smsc: Smsc, courier: SmppCourier) -> None:
    """Without waiting for the answer that cannot come; then the next code goes over the new link."""
    smsc.order(silent=True)
    failures: queue.Queue[Exception] = queue.Queue()

    def fail() -> None:
        try:
            send(courier)
        except DeliveryFailed as failure:
            failures.put(failure)

    thread = Thread(target=fail)
    thread.start()
    smsc.next("submitted")
    smsc.order(silent=False, drop=True)
    thread.join()
    assert "lost" in str(failures.get_nowait())
    assert not courier.linked
    smsc.next("bound")
    send(courier, small.ACTIVE + 1)
    assert courier.linked
    assert smsc.next("submitted")["destination"] == str(small.ACTIVE + 1)


@pytest.mark.parametrize("garbage", ["00", "00000010", "ffffffff" * 4, "00000010" + "00000005" + "0" * 16])
def test_the_link_comes_back_whatever_the_smsc_sends(smsc: Smsc, courier: SmppCourier, garbage: str) -> None:
    """A length, a command or a body that cannot be."""
    smsc.order(garbage=garbage + "00" * 16)
    smsc.order(drop=True)
    smsc.next("bound")
    send(courier)
    smsc.next("submitted")


@pytest.mark.usefixtures("impatient")
def test_what_nobody_waits_for_any_more_never_leaves(package: Path) -> None:
    """A code that could not be submitted is not submitted by a link that comes later."""
    with smsc_running(package) as gone:
        port = gone.port
    courier = courier_to(port)
    with pytest.raises(DeliveryFailed):
        send(courier)
    courier.close()


def test_a_bind_that_is_refused_fails_the_delivery_and_says_so(smsc: Smsc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpp, "ANSWER_TIMEOUT_S", 0.2)
    with structlog.testing.capture_logs() as lines:
        account = Account("127.0.0.1", smsc.port, "numcheck", "wrong")
        courier = SmppCourier(account, source="1", lifetime=LIFETIME, sends_at_once_max=1, reports=Reported())
        # The second attempt comes after the first was refused.
        smsc.next("refused")
        smsc.next("refused")
        with pytest.raises(DeliveryFailed):
            send(courier)
        courier.close()
    assert {"ESME_RINVPASWD"} == {line["status"] for line in lines if "status" in line}


def test_a_message_that_comes_is_handed_over_and_then_acknowledged(smsc: Smsc, courier: SmppCourier) -> None:
    got: queue.Queue[tuple[str, str]] = queue.Queue()
    courier.receive(lambda sender, text: got.put((sender, text)))
    smsc.order(deliver=inbound(small.ACTIVE, "ABC234"))
    assert smsc.next("taken")["status"] == 0
    assert got.get_nowait() == (f"+{small.ACTIVE}", "ABC234")


def test_receipts_and_parts_of_messages_are_acknowledged_and_nothing_else(smsc: Smsc) -> None:
    """Parts of different senders could have one number: none is taken for the whole."""
    courier = courier_to(smsc.port, reports=(reports := Reported()))
    smsc.next("bound")
    got: queue.Queue[tuple[str, str]] = queue.Queue()
    courier.receive(lambda sender, text: got.put((sender, text)))
    receipt = {**inbound(small.ACTIVE, "id:m1 stat:DELIVRD err:000 text:ABC234"), "esm_class": 4}
    part = {"sar_msg_ref_num": 7, "sar_total_segments": 2}
    parts = [{**inbound(small.ACTIVE, "ABC234"), **part, "sar_segment_seqnum": turn} for turn in (1, 2)]
    for message in (receipt, *parts):
        smsc.order(deliver=message)
        smsc.next("taken")
    assert got.empty()
    courier.close()
    assert [(names[0], outcome) for names, outcome in reports.receipts] == [("m1", "delivered")]


def test_a_message_that_cannot_be_taken_leaves_the_link_alone(smsc: Smsc, courier: SmppCourier) -> None:
    def fail(_sender: str, _text: str) -> None:
        raise OSError("the disk is full")

    courier.receive(fail)
    smsc.order(deliver=inbound(small.ACTIVE, "ABC234"))
    smsc.next("taken")
    send(courier)


def inbound(number: int, text: str) -> dict[str, object]:
    return {
        "source_addr": str(number),
        "source_addr_ton": 1,
        "source_addr_npi": 1,
        "destination_addr": "1234",
        "short_message": text,
    }


def test_no_code_and_no_number_is_logged_at_any_level(
    smsc: Smsc, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R11, of the library as well: on the way that succeeds and on those that fail."""
    caplog.set_level(1)
    logging.getLogger("asyncio").setLevel(1)
    monkeypatch.setattr(smpp, "ANSWER_TIMEOUT_S", 0.2)
    courier = courier_to(smsc.port)
    courier.receive(lambda _sender, _text: None)
    send(courier)
    smsc.order(deliver=inbound(small.ACTIVE, "ABC234"))
    smsc.next("taken")
    for trouble in ({"status": "ESME_RSYSERR"}, {"silent": True}, {"drop": True}, {"garbage": "ff" * 32}):
        smsc.order(**trouble)
        with pytest.raises(DeliveryFailed):
            send(courier)
    courier.close()
    out, err = capfd.readouterr()
    logged = " ".join([caplog.text, out, err])
    for secret in (CODE, str(small.ACTIVE), "ABC234", "secret"):
        assert secret not in logged
        assert secret.encode().hex() not in logged


def test_a_node_verifies_by_what_goes_out_and_by_what_comes_in(smsc: Smsc, data_dir: Path, tmp_path: Path) -> None:
    """II.2 over SMPP: the code that went to the number, and the word that came from it."""
    password = tmp_path / "password"
    password.write_text("secret\n")
    env = {
        "NUMCHECK_CODE_DELIVERY": f"smpp://127.0.0.1:{smsc.port}",
        "NUMCHECK_SMPP_SYSTEM_ID": "numcheck",
        "NUMCHECK_SMPP_PASSWORD_FILE": str(password),
        "NUMCHECK_SMPP_SOURCE_ADDRESS": "numcheck",
        "NUMCHECK_CODE_MESSAGE": "Your code: {code}",
        "NUMCHECK_VERIFICATION_METHODS": "code,inbound",
    }
    with serving(data_dir, env=env) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        made = stub.Register(register_request("messenger", small.UNKNOWN))
        code = smsc.next("submitted")["text"].removeprefix("Your code: ")
        complete = pb.CompleteVerificationRequest(
            service="messenger", verification_id=made.verification.verification_id, code=code
        )
        assert stub.CompleteVerification(complete).registration.state == pb.REGISTRATION_STATE_VERIFIED

        number = small.UNKNOWN + 1
        stub.Register(register_request("messenger", number, user_id="u2"))
        started = stub.StartVerification(
            pb.StartVerificationRequest(service="messenger", user_id="u2", method=pb.VERIFICATION_METHOD_INBOUND)
        )
        for sender, text in ((number + 1, started.verification.inbound_word), (number, "hello")):
            smsc.order(deliver=inbound(sender, text))
            smsc.next("taken")
        mine = pb.GetRegistrationRequest(service="messenger", user_id="u2")
        assert stub.GetRegistration(mine).registration.state == pb.REGISTRATION_STATE_PENDING
        smsc.order(deliver=inbound(number, f"my word: {started.verification.inbound_word.lower()}"))
        smsc.next("taken")
        assert stub.GetRegistration(mine).registration.state == pb.REGISTRATION_STATE_VERIFIED
        lines = " ".join(node.process.lines)
    smsc.next("unbound")
    for secret in (code, str(small.UNKNOWN), str(number), started.verification.inbound_word):
        assert secret not in lines


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"code_delivery": "smpps://smsc:2775"}, "code_delivery"),
        ({"code_delivery": "smpp://"}, "code_delivery"),
        ({"code_delivery": "smpp://smsc:99999"}, "code_delivery"),
        ({"code_delivery": "smpp://user:secret@smsc"}, "code_delivery"),
        ({"smpp_system_id": ""}, "smpp_system_id"),
        ({"smpp_system_id": "x" * 16}, "smpp_system_id"),
        ({"smpp_password_file": None}, "smpp_password_file"),
        ({"smpp_password_file": "missing"}, "smpp_password_file"),
        ({"smpp_password_file": "long"}, "smpp_password_file"),
        ({"smpp_source_address": ""}, "smpp_source_address"),
        ({"smpp_source_address": "x" * 12}, "smpp_source_address"),
        ({"smpp_source_address": "Банк"}, "smpp_source_address"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, changes: dict[str, str | None], named: str) -> None:
    (tmp_path / "password").write_text("secret")
    (tmp_path / "long").write_text("x" * 9)
    fields: dict[str, str | None] = {
        "code_delivery": "smpp://smsc",
        "smpp_system_id": "numcheck",
        "smpp_password_file": "password",
        "smpp_source_address": "numcheck",
        **changes,
    }
    if fields["smpp_password_file"]:
        fields["smpp_password_file"] = str(tmp_path / fields["smpp_password_file"])
    with pytest.raises(BadConfiguration) as refused:
        delivery_of(Settings(**fields), lambda _line: None)  # type: ignore[arg-type]
    assert str(refused.value).startswith(named)
    assert "secret" not in str(refused.value)


def test_without_the_extra_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiosmpplib", None)
    for module in ("numcheck.delivery.smpp", "numcheck.delivery.smpp_link"):
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(BadConfiguration, match=r"pip install 'numcheck\[smpp\]'"):
        delivery_of(Settings(code_delivery="smpp://smsc"), lambda _line: None)
