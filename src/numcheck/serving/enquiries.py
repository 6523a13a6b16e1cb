"""Asks operators themselves, over gRPC, where they answer (I.3b): SubscriberService of operator.proto, as its client.

Invariants: one question is asked at most ATTEMPTS_MAX times, under one id, and again after UNAVAILABLE only; whatever
is no answer is None, never an error; no line of the log has a number (R11).
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import grpc
import structlog

from numcheck.active import Operator
from numcheck.config import OperatorSettings, Settings
from numcheck.errors import BadConfiguration
from numcheck.hosts import goes_to_loopback
from numcheck.places import Places
from numcheck.registrations.enquiry import LiveAnswer
from numcheck.serving.breaker import Breaker
from numcheck.v1 import operator_pb2 as pb
from numcheck.v1.operator_pb2_grpc import SubscriberServiceStub

log = structlog.get_logger()

ATTEMPTS_MAX = 3
BACKOFF_S = 0.1  # before the second attempt, up to; twice as much before the third
ANSWER_SIZE_MAX = 4_096  # bytes
ANSWERS = {pb.NUMBER_ANSWER_ACTIVE: True, pb.NUMBER_ANSWER_INACTIVE: False}
"""The values that count as an answer."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The time of day, a clock that only runs forward, in seconds, and what waits by it."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


CLOCKS = Clocks()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operator's endpoint, with what is known of its health."""

    channel: grpc.Channel
    breaker: Breaker
    stub: SubscriberServiceStub = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stub", SubscriberServiceStub(self.channel))


class Enquiries:
    """Asks each operator that has an endpoint. Safe to use from any thread."""

    def __init__(
        self, endpoints: Mapping[str, Endpoint], *, timeout_s: float, at_once_max: int, clocks: Clocks = CLOCKS
    ) -> None:
        """`endpoints` are by operator id or tax id; at most `at_once_max` threads wait for operators at once."""
        self._endpoints, self._timeout_s, self._clocks = endpoints, timeout_s, clocks
        self._places = Places(at_once_max)

    def ask(self, service: str, operator: Operator, number: int) -> LiveAnswer | None:
        """Return the operator's answer, for a service's sake; None if it gives none in time, has no endpoint, is left
        alone for its failures, or no place is free to wait for it."""
        found = (self._endpoints.get(name) for name in (operator.tax_id or "", str(operator.operator_id)))
        endpoint = next(filter(None, found), None)
        if endpoint is None:
            return None
        # Without a place the verification goes on to the next method: an operator may be slow, the node must not be.
        with self._places.taken(service) as has_place:
            return self._ask(endpoint, operator, number) if has_place and endpoint.breaker.admits() else None

    def close(self) -> None:
        """Close the connections."""
        for endpoint in self._endpoints.values():
            endpoint.channel.close()

    def _ask(self, endpoint: Endpoint, operator: Operator, number: int) -> LiveAnswer | None:
        asked_at, began = self._clocks.now(), self._clocks.steady()
        try:
            response = self._call(endpoint, number, began)
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed, as the node stops
            opened = endpoint.breaker.failed()
            log.warning(
                "an operator does not answer", operator_id=operator.operator_id, code=_code(error), left_alone=opened
            )
            return None
        endpoint.breaker.succeeded()
        answered_at, took = self._clocks.now(), timedelta(seconds=self._clocks.steady() - began)
        data_time = _data_time(response, answered_at)
        if response.answer not in ANSWERS or data_time is None:
            return None
        return LiveAnswer(ANSWERS[response.answer], data_time, asked_at, answered_at, took)

    def _call(self, endpoint: Endpoint, number: int, began: float) -> pb.ConfirmNumberResponse:
        request = pb.ConfirmNumberRequest(number=number, question_id=uuid4().hex)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            left_s = self._timeout_s - (self._clocks.steady() - began)
            try:
                answer: pb.ConfirmNumberResponse = endpoint.stub.ConfirmNumber(request, timeout=max(left_s, 0))
                return answer
            except grpc.RpcError as error:
                pause_s = random.uniform(0.5, 1) * BACKOFF_S * 2 ** (attempt - 1)
                if _code(error) != grpc.StatusCode.UNAVAILABLE.name or attempt == ATTEMPTS_MAX or pause_s >= left_s:
                    raise
            self._clocks.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


def _code(error: Exception) -> str:
    """Return the status of a call that failed, or what else happened to it."""
    code = getattr(error, "code", None)
    return str(code().name) if callable(code) else type(error).__name__


def _data_time(response: pb.ConfirmNumberResponse, answered_at: datetime) -> datetime | None:
    """Return the moment at which the answer was true; None if it is none of the calendar."""
    if not response.HasField("data_time"):
        return answered_at
    try:
        moment = response.data_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.timestamp() >= 0 else None


def enquiries_of(settings: Settings) -> Enquiries:
    """Return what asks the operators that the settings name. BadConfiguration if a file cannot be read."""
    endpoints = {
        name: Endpoint(_channel(name, one, use_proxy=settings.use_proxy), Breaker(time.monotonic))
        for name, one in settings.operators.items()
    }
    return Enquiries(
        endpoints, timeout_s=settings.live_question_timeout_s, at_once_max=max(settings.api_threads // 4, 1)
    )


def _channel(name: str, settings: OperatorSettings, *, use_proxy: bool) -> grpc.Channel:
    options = [
        ("grpc.enable_retries", 0),  # attempts are counted here
        ("grpc.enable_http_proxy", int(use_proxy and not goes_to_loopback(settings.endpoint))),
        ("grpc.max_receive_message_length", ANSWER_SIZE_MAX),
    ]
    files = (settings.authority_file, settings.key_file, settings.certificate_file)
    if settings.authority_file is None:
        return grpc.insecure_channel(settings.endpoint, options)
    authority, key, certificate = (_read(name, file) for file in files)
    return grpc.secure_channel(settings.endpoint, grpc.ssl_channel_credentials(authority, key, certificate), options)


def _read(name: str, file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise BadConfiguration(f"operators.{name}: a file cannot be read ({type(error).__name__})") from None
