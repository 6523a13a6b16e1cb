"""The one table of codes, and what an error of ours or of anybody's becomes."""

import ast
import inspect
import re
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2
from structlog.testing import capture_logs

from numcheck import errors
from numcheck.api.errors import CODES, FIELDS, RETRIABLE, log_failure, status_of
from numcheck.errors import CallRefused, IndexBehind, NumcheckError
from numcheck.index import PublishedIndex
from numcheck.status import NumberStatus
from numcheck.v1 import number_pb2
from tests.api.calls import UNARY, call_raw, refusal, stream_raw
from tests.api.listeners import listening

SOURCES = Path(__file__).parents[2] / "src/numcheck"  # a wheel has no .pyx
ANSWERING = (
    *("api/check.py", "index/published.py", "index/reader.py", "e164.py", "_e164.pyx", "_fast.pyx"),
    *("_recycled.pyx", "api/identifications.py", "registrations/importing.py"),
    *("api/calls.py", "api/numbering.py", "api/pushing.py", "api/active_numbers.py", "api/portings.py", "api/plan.py"),
    *(
        "api/slots.py",
        "serving/budgets.py",
        "door/native.py",
        "door/rates.py",
        "door/health.py",
        "door/watches.py",
        "store/served.py",
        "store/blocks.py",
    ),
    *("plan/allotments.py", "active/push.py", "active/portings.py", "access/rules.py", "api/access.py"),
    *("store/heads.py", "store/pushes.py", "store/plans.py", "store/database.py", "store/engine.py"),
    *("store/failures.py", "store/history.py", "store/marks.py"),
    *("store/callers.py", "api/callers.py", "api/editions.py", "api/registration.py", "delivery/http.py"),
    *(
        "registrations/newcomers.py",
        "registrations/record.py",
        "registrations/registrar.py",
        "registrations/verifier.py",
        "registrations/completion.py",
        "registrations/policy.py",
    ),
    *("registrations/judging.py", "registrations/states.py", "registrations/codes.py", "registrations/proofs.py"),
)
OUR_OWN_TROUBLE = {"IndexDamaged", "BadConfiguration", "EditionRefused"}
"""What no caller can do anything about: INTERNAL to them."""
SECRET = "+79161234567"

ALL_ERRORS = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, NumcheckError)]
NAMED_ERRORS = [one for one in ALL_ERRORS if one not in (NumcheckError, CallRefused)]


def instance(error: type[NumcheckError]) -> NumcheckError:
    """One of these errors; those with words of their own are made of what they speak of."""
    parts = {errors.BadPush: ("header", "words"), errors.NotServed: (3, [5]), errors.NotPortable: (3, [5])}
    parts |= {errors.BadPlan: ("rows", "words"), errors.PlanShrinks: ("9", 3, 4), errors.TooManyCodes: ("number", 3)}
    parts |= {errors.MovesTooMuch: ("numbers", 3, 2, 9, ())}
    parts |= {
        errors.OlderData: (datetime(2026, 11, 20, tzinfo=UTC), "the head", datetime(2026, 11, 21, tzinfo=UTC)),
        errors.BadRegistration: ("user_id", "words"),
        errors.NotANumber: ("words",),
        errors.ProofNotAccepted: (2, "2026-11-20T00:00:00Z"),
        errors.RecordTooShort: (datetime(2026, 11, 20, tzinfo=UTC),),
        errors.StoreDamaged: ("words",),
        errors.BadCaller: ("words",),
        errors.CallRateExceeded: (5, 0.2),
        errors.TooManyNewNumbers: (100, 3, datetime(2026, 11, 20, tzinfo=UTC), 7.0),
    }
    return error("words") if error.__init__ is NumcheckError.__init__ else error(*parts.get(error, (3, 2)))


def raised_names(source: str) -> set[str]:
    found = re.findall(r"\b(?:raise |return |abort\(context, |status_of\(|refusal\()(\w+)\(", source)
    return {name for name in found if hasattr(errors, name)}


def test_every_error_that_can_end_a_call_has_its_code():
    """What the modules that answer a call raise, or abort a call with, has one row in the table; no other has."""
    raised = set().union(*(raised_names((SOURCES / name).read_text()) for name in ANSWERING))
    assert raised - OUR_OWN_TROUBLE == {error.__name__ for error in CODES}


def test_table_has_one_row_for_each_error():
    """A later row of the same key would silently win."""
    tree = ast.parse((SOURCES / "api" / "errors.py").read_text())
    tables = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
    ]
    for table in tables:
        keys = [ast.unparse(key) for key in table.keys if key is not None]
        assert len(keys) == len(set(keys))


def test_every_reason_is_a_word_of_its_own():
    """UPPER_SNAKE_CASE, and of no other error."""
    reasons = [error.reason for error in NAMED_ERRORS]
    assert len(set(reasons)) == len(reasons)
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", reason) for reason in reasons)


@pytest.mark.parametrize("error", NAMED_ERRORS, ids=lambda error: error.__name__)
def test_reason_is_the_name_of_its_error(error):
    assert error.reason == re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).upper()


@pytest.mark.parametrize("error", CODES, ids=lambda error: error.__name__)
def test_status_has_the_details_that_go_with_its_code(error):
    """ErrorInfo always, BadRequest with INVALID_ARGUMENT, RetryInfo where a repetition can help: not of what is too
    large, and is so the next time as well."""
    status = status_of(instance(error))
    names = [detail.TypeName().rpartition(".")[2] for detail in status.details]
    assert status.code == CODES[error]
    assert names[0] == "ErrorInfo"
    assert ("BadRequest" in names) == (CODES[error] == code_pb2.INVALID_ARGUMENT)
    final = error in (errors.MessageTooLarge, errors.MetadataTooLarge)
    assert ("RetryInfo" in names) == (CODES[error] in RETRIABLE and not final)


def test_fields_are_named_only_for_bad_requests():
    assert all(CODES[error] == code_pb2.INVALID_ARGUMENT for error in FIELDS)


@pytest.mark.parametrize("error", [error for error in NAMED_ERRORS if error not in CODES], ids=lambda one: one.__name__)
def test_error_is_internal_and_silent_when_it_is_not_in_the_table(error):
    """What was not meant for a caller does not reach one."""
    status = status_of(instance(error))
    assert status.code == code_pb2.INTERNAL
    assert "words" not in str(status)


def test_subclass_of_an_error_is_internal_when_it_has_no_row_of_its_own():
    class NewError(IndexBehind):
        pass

    assert status_of(NewError(2, 1)).code == code_pb2.INTERNAL


class Broken(PublishedIndex):
    """An index that fails with a number in its words."""

    def get(self):
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("method", [*UNARY, "StreamCheckNumbers"])
def test_error_is_internal_and_silent_when_it_is_a_bug(method):
    """Neither the caller nor the log learns an exception's text; the log learns its kind and its place."""
    body = b"\x0a\x0c" + SECRET.encode() if method == "CheckNumber" else b""
    with capture_logs() as logs, listening(Broken()) as (_, channel):
        call = stream_raw if method == "StreamCheckNumbers" else lambda one, body: call_raw(one, method, body)
        refused = refusal(lambda: call(channel, body))
    assert (refused.code, refused.reason, refused.domain) == (grpc.StatusCode.INTERNAL, "INTERNAL", "numcheck")
    assert SECRET not in repr(refused)
    assert [(line["log_level"], line["error"]) for line in logs] == [("error", "RuntimeError")]
    assert logs[0]["at"][-1].startswith("get:")
    assert SECRET not in repr(logs)


def test_call_is_to_be_repeated_when_no_index_is_published_yet():
    """UNAVAILABLE, INDEX_NOT_READY and RetryInfo, whatever is asked."""
    with listening(PublishedIndex()) as (_, channel):
        calls = [lambda method=method: call_raw(channel, method, b"") for method in UNARY]
        for refused in map(refusal, [*calls, lambda: stream_raw(channel, b"")]):
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_NOT_READY")
            assert refused.retry_delay_s is not None


def test_statuses_below_the_api_are_those_of_the_api():
    """Name and value alike; UNSPECIFIED is for the wire alone."""
    of_the_api = {name.removeprefix("NUMBER_STATUS_"): value for name, value in number_pb2.NumberStatus.items()}
    assert {one.name: one.value for one in NumberStatus} | {"UNSPECIFIED": 0} == of_the_api


def test_damage_of_the_store_is_told_by_its_code_and_named_in_the_log_alone():
    damage = errors.StoreDamaged("block 7 of the numbers of operator 3 is not what was stored")
    with capture_logs() as logs:
        log_failure(damage)
    assert [(one["error"], one["reason"]) for one in logs] == [("StoreDamaged", str(damage))]
    status = status_of(damage)
    assert status.code == code_pb2.DATA_LOSS
    assert "block" not in status.message
