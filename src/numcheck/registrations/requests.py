"""Requests that may be repeated: each does once what it asks, and its repetitions get the same answer.

Invariant: a request is noted in the transaction that does what it asks. It is known by its name, its registration and
all that it says, for 30 days.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from numcheck.errors import BadRegistration, DeliveryFailed
from numcheck.moments import microseconds
from numcheck.registrations.deciding import Problem
from numcheck.registrations.encoding import encoded
from numcheck.registrations.policy import Method
from numcheck.registrations.registration import Outcome, Registration, Verification, VerificationState
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Verifier
from numcheck.steps import Steps
from numcheck.store import Registrations, RegistrationWork, RequestRow


class Request(NamedTuple):
    """A request about a registration: its name, empty if it may not be repeated, and all that it says."""

    request_id: str
    said: tuple[Any, ...]


class Requests:
    """Does each request once. Safe to use from any thread."""

    def __init__(self, registrations: Registrations, vault: Vault, verifier: Verifier) -> None:
        self._registrations, self._vault, self._verifier = registrations, vault, verifier

    def once(
        self,
        work: RegistrationWork,
        found: Registration,
        request: Request,
        now: datetime,
        do: Callable[[], Outcome | None],
    ) -> Outcome | None:
        """Do what a request asks, or return what it came to; None if it could not be done, so that it is not noted.
        BadRegistration if its name was another request's."""
        if not request.request_id:
            return do()
        tags, said_tags = self._tags(found, request), self._vault.said_tags(encoded(request.said))
        known = work.verifications.request(tags)
        if known is None:
            if (outcome := do()) is None:
                return None
            verification = outcome.verification
            verification_id = verification.verification_id if verification is not None else b""
            row = RequestRow(tags[0], said_tags[0], microseconds(now), verification_id, outcome.problem)
            work.verifications.insert_request(row)
            return outcome
        if known.said_tag not in said_tags:
            raise BadRegistration("request_id", "the request_id is that of another request about the user")
        return self._again(work, found, known, now)

    def _again(self, work: RegistrationWork, found: Registration, known: RequestRow, now: datetime) -> Outcome:
        verification = work.verifications.get(known.verification_id) if known.verification_id else None
        if known.problem == Problem.NUMBER_DENIED:
            denied = Verification(b"", Method.OPERATOR, VerificationState.DENIED)
            return Outcome(found, denied, known.problem)
        if verification is not None:
            return Outcome(found, self._verifier.told(verification, now), known.problem)
        # A request that could begin nothing has no verification: the user's newest is another request's.
        newest = None if known.problem else self._verifier.current(work, found.row, now)
        return Outcome(found, newest, known.problem)

    def delivered(self, started: Outcome, request: Request, *, strict: bool = False) -> Steps[Outcome]:
        """Send the code of what was started, if it is the first time, and note a failure; raise it when `strict`."""
        found = started.registration
        try:
            return (yield from self._sent(started, strict=strict))
        except DeliveryFailed as failure:
            if request.request_id and started.to_send:
                tag, problem = self._tags(found, request)[0], failure.reason
                yield self._registrations.writing(lambda work: work.verifications.set_request_problem(tag, problem))
            if strict:
                raise
            return started._replace(to_send=None, number=0, problem=failure.reason)

    def _sent(self, started: Outcome, *, strict: bool) -> Steps[Outcome]:
        if strict and started.problem == DeliveryFailed.reason:
            raise DeliveryFailed("the code could not be handed over")
        return (yield from self._verifier.delivered(started, strict=True))

    def _tags(self, found: Registration, request: Request) -> list[bytes]:
        return self._vault.repetition_tags(found.row.registration_id, request.request_id)
