"""Turns errors into the API's statuses: the one table of codes, and the google.rpc details of each."""

import math
import traceback
from collections.abc import Mapping

import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from numcheck import errors

log = structlog.get_logger()

DOMAIN = "numcheck"
RETRY_DELAY_MS = 100

CODES: dict[type[errors.NumcheckError], int] = {
    errors.MalformedMessage: code_pb2.INVALID_ARGUMENT,
    errors.NotANumber: code_pb2.INVALID_ARGUMENT,
    errors.TooManyNumbers: code_pb2.INVALID_ARGUMENT,
    errors.TooManyNewNumbers: code_pb2.RESOURCE_EXHAUSTED,
    errors.BadMoments: code_pb2.INVALID_ARGUMENT,
    errors.BadPlan: code_pb2.INVALID_ARGUMENT,
    errors.BadPush: code_pb2.INVALID_ARGUMENT,
    errors.NotServed: code_pb2.INVALID_ARGUMENT,
    errors.NotPortable: code_pb2.INVALID_ARGUMENT,
    errors.RemovesTooMuch: code_pb2.FAILED_PRECONDITION,
    errors.MovesTooMuch: code_pb2.FAILED_PRECONDITION,
    errors.PlanShrinks: code_pb2.FAILED_PRECONDITION,
    errors.StaleBase: code_pb2.ABORTED,
    errors.OlderData: code_pb2.FAILED_PRECONDITION,
    errors.ConcurrentImport: code_pb2.ABORTED,
    errors.ConcurrentPush: code_pb2.ABORTED,
    errors.UnknownPush: code_pb2.NOT_FOUND,
    errors.BadResumeToken: code_pb2.INVALID_ARGUMENT,
    errors.UnknownOperator: code_pb2.NOT_FOUND,
    errors.BadRegistration: code_pb2.INVALID_ARGUMENT,
    errors.NumberNotMobile: code_pb2.INVALID_ARGUMENT,
    errors.NumberNotAllotted: code_pb2.INVALID_ARGUMENT,
    errors.RegistrationExists: code_pb2.ALREADY_EXISTS,
    errors.UnknownRegistration: code_pb2.NOT_FOUND,
    errors.WrongState: code_pb2.FAILED_PRECONDITION,
    errors.MethodNotAllowed: code_pb2.FAILED_PRECONDITION,
    errors.BadTestNumber: code_pb2.FAILED_PRECONDITION,
    errors.TooManyCodes: code_pb2.RESOURCE_EXHAUSTED,
    errors.DeliveryFailed: code_pb2.UNAVAILABLE,
    errors.ProofNotAccepted: code_pb2.FAILED_PRECONDITION,
    errors.TooManyStreams: code_pb2.RESOURCE_EXHAUSTED,
    errors.TooManyCalls: code_pb2.RESOURCE_EXHAUSTED,
    errors.MessageTooLarge: code_pb2.RESOURCE_EXHAUSTED,
    errors.MetadataTooLarge: code_pb2.RESOURCE_EXHAUSTED,
    errors.CallRateExceeded: code_pb2.RESOURCE_EXHAUSTED,
    errors.NodeStopping: code_pb2.UNAVAILABLE,
    errors.BadCaller: code_pb2.INVALID_ARGUMENT,
    errors.UnknownCaller: code_pb2.NOT_FOUND,
    errors.NotAuthenticated: code_pb2.UNAUTHENTICATED,
    errors.NotPermitted: code_pb2.PERMISSION_DENIED,
    errors.UnknownMethod: code_pb2.UNIMPLEMENTED,
    errors.UnknownService: code_pb2.NOT_FOUND,
    errors.UnknownFile: code_pb2.NOT_FOUND,
    errors.IndexNotReady: code_pb2.UNAVAILABLE,
    errors.StoreUnavailable: code_pb2.UNAVAILABLE,
    errors.IndexBehind: code_pb2.UNAVAILABLE,
    errors.CallersRefused: code_pb2.FAILED_PRECONDITION,
    errors.HistoryLost: code_pb2.UNAVAILABLE,
    errors.StoreFailed: code_pb2.INTERNAL,
    errors.StoreDamaged: code_pb2.DATA_LOSS,
}
# The field of the request that an INVALID_ARGUMENT is about; none where the request could not be read.
FIELDS: dict[type[errors.NumcheckError], str] = {
    errors.TooManyNumbers: "numbers",
    errors.BadMoments: "since_unix_s",
    errors.NumberNotMobile: "number",
    errors.NumberNotAllotted: "number",
}
# Messages for callers, of errors whose own words are for the log.
TOLD: dict[int, str] = {
    code_pb2.DATA_LOSS: "what is stored is not what was written; the node's log says where",
    code_pb2.INTERNAL: "the store refuses what it is asked; the node's log says why",
}
RETRIABLE = (code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED)
# Refusals that a repetition gets again, though their code is one of those.
FINAL = (errors.MessageTooLarge, errors.MetadataTooLarge)


def status_of(error: Exception) -> status_pb2.Status:
    """Return the status for an error. One that is not ours is INTERNAL, and its text stays here."""
    if not isinstance(error, errors.NumcheckError) or type(error) not in CODES:
        return _status(code_pb2.INTERNAL, "an error on the server's side", _error_info("INTERNAL"))
    code, details = CODES[type(error)], [_error_info(error.reason, error.metadata)]
    if code in TOLD:
        return _status(code, TOLD[code], *details)
    if code == code_pb2.INVALID_ARGUMENT:
        details.append(_bad_request(_field_of(error), error))
    if code in RETRIABLE and not isinstance(error, FINAL):
        details.append(_retry_info(error))
    return _status(code, str(error), *details)


def log_failure(error: Exception) -> None:
    """Log an error that is not one of ours, or that a person has to mend; others go to the caller alone.

    The line has the error's kind and place, never its text or its variables: they may hold a number. Damage is named
    by its block, its operator or its series.
    """
    if isinstance(error, (errors.StoreDamaged, errors.StoreFailed)):
        log.error("call failed", error=type(error).__name__, reason=str(error))
    if not isinstance(error, errors.NumcheckError):
        frames = traceback.extract_tb(error.__traceback__)
        log.error("call failed", error=type(error).__name__, at=[f"{frame.name}:{frame.lineno}" for frame in frames])


def _status(code: int, message: str, *details: any_pb2.Any) -> status_pb2.Status:
    return status_pb2.Status(code=code, message=message, details=details)


def _packed(
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _field_of(error: errors.NumcheckError) -> str:
    field: str = getattr(error, "field", FIELDS.get(type(error), ""))
    return field


def _error_info(reason: str, metadata: Mapping[str, str] | None = None) -> any_pb2.Any:
    return _packed(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata or {}))


def _bad_request(field: str, error: errors.NumcheckError) -> any_pb2.Any:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=str(error), reason=error.reason)
    return _packed(error_details_pb2.BadRequest(field_violations=[violation]))


def _retry_info(error: errors.NumcheckError) -> any_pb2.Any:
    delay = duration_pb2.Duration()
    told_s: float = getattr(error, "retry_delay_s", 0.0)
    delay.FromMilliseconds(max(math.ceil(1_000 * told_s), RETRY_DELAY_MS))
    return _packed(error_details_pb2.RetryInfo(retry_delay=delay))
