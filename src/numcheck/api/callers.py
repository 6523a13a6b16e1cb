"""Translates CallerService. The rules of callers are in access/."""

from collections.abc import Callable
from typing import Any

from numcheck.access import Caller, Role
from numcheck.api.access import token_tag
from numcheck.api.calls import CallerWaits, parsed
from numcheck.api.pushing import Outside
from numcheck.errors import BadCaller
from numcheck.store import Callers, KnownCaller
from numcheck.timestamps import timestamp
from numcheck.v1 import caller_pb2

SERVICE_NAME = "numcheck.v1.CallerService"
ROLES = {
    Role.MESSENGER: caller_pb2.ROLE_MESSENGER,
    Role.OPERATOR: caller_pb2.ROLE_OPERATOR,
    Role.CLEARING_HOUSE: caller_pb2.ROLE_CLEARING_HOUSE,
    Role.AUDITOR: caller_pb2.ROLE_AUDITOR,
    Role.ADMINISTRATOR: caller_pb2.ROLE_ADMINISTRATOR,
    Role.FOLLOWER: caller_pb2.ROLE_FOLLOWER,
}


class CallerService:
    """Reads and changes the callers in the store."""

    name = SERVICE_NAME

    def __init__(
        self,
        callers: Callers,
        outside: Outside,
        *,
        token_key: bytes,
        changed: Callable[[], None],
        by: Callable[[], str],
    ) -> None:
        """Call `changed` after each change, so that it takes effect at once; `by` returns the name of who makes it."""
        self._callers, self._outside, self._token_key = callers, outside, token_key
        self._changed, self._by = changed, by

    def add_caller(self, request: bytes, _call: CallerWaits) -> bytes:
        """Add a caller."""
        message = parsed(caller_pb2.AddCallerRequest, request).caller
        self._callers.add(caller_of(message), now=self._outside.now(), by=self._by())
        self._changed()
        return caller_pb2.AddCallerResponse().SerializeToString()

    def list_callers(self, _request: bytes, _call: CallerWaits) -> bytes:
        """List every caller and agreement."""
        found = self._callers.whole()
        return caller_pb2.ListCallersResponse(
            callers=[_message(one) for one in found.callers],
            agreements=[
                caller_pb2.Agreement(service=one[0], operator_id=one[1], identifications=one in found.identifying)
                for one in found.agreements
            ],
        ).SerializeToString()

    def revoke_caller(self, request: bytes, _call: CallerWaits) -> bytes:
        """Revoke a caller, who may call no more."""
        uri = parsed(caller_pb2.RevokeCallerRequest, request).uri
        self._callers.revoke(uri, now=self._outside.now(), by=self._by())
        self._changed()
        return caller_pb2.RevokeCallerResponse().SerializeToString()

    def issue_token(self, request: bytes, _call: CallerWaits) -> bytes:
        """Issue a token, of which the store keeps a keyed hash."""
        token = self._outside.new_token()
        uri, tag = parsed(caller_pb2.IssueTokenRequest, request).uri, token_tag(self._token_key, token)
        self._callers.set_token(uri, tag, now=self._outside.now(), by=self._by())
        self._changed()
        return caller_pb2.IssueTokenResponse(token=token).SerializeToString()

    def add_agreement(self, request: bytes, _call: CallerWaits) -> bytes:
        """Add the agreement of a service with an operator."""
        message = parsed(caller_pb2.AddAgreementRequest, request).agreement
        self._callers.agree(
            message.service,
            message.operator_id,
            now=self._outside.now(),
            by=self._by(),
            identifications=message.identifications,
        )
        self._changed()
        return caller_pb2.AddAgreementResponse().SerializeToString()

    def end_agreement(self, request: bytes, _call: CallerWaits) -> bytes:
        """End an agreement."""
        message = parsed(caller_pb2.EndAgreementRequest, request).agreement
        self._callers.end_agreement(message.service, message.operator_id, now=self._outside.now(), by=self._by())
        self._changed()
        return caller_pb2.EndAgreementResponse().SerializeToString()

    def methods(self) -> dict[str, Callable[[bytes, CallerWaits], bytes]]:
        """Return the function of each method, by its name: bytes in, bytes out, or an error of ours."""
        return {
            "AddCaller": self.add_caller,
            "ListCallers": self.list_callers,
            "RevokeCaller": self.revoke_caller,
            "IssueToken": self.issue_token,
            "AddAgreement": self.add_agreement,
            "EndAgreement": self.end_agreement,
        }


def caller_of(message: caller_pb2.Caller) -> Caller:
    """Return the caller that a message describes; BadCaller if it has no role."""
    role = next((role for role, number in ROLES.items() if number == message.role), None)
    if role is None:
        raise BadCaller("the caller has no role", "caller.role")
    return Caller(message.uri, role, message.operator_id or None, message.service or None)


def message_of(caller: Caller, **known: Any) -> caller_pb2.Caller:
    """Return the message that describes a caller, with what else is known of them by field."""
    return caller_pb2.Caller(
        uri=caller.uri, role=ROLES[caller.role], operator_id=caller.operator_id, service=caller.service, **known
    )


def _message(known: KnownCaller) -> caller_pb2.Caller:
    return message_of(
        known.caller,
        has_token=known.token_tag is not None,
        added_at=timestamp(known.added_at),
        revoked_at=timestamp(known.revoked_at),
    )
