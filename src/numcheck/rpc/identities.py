"""IdentityService over the API listener: translation only. What may be an identity is in access/."""

from collections.abc import Callable
from typing import Any

import grpc

from numcheck.access import Identity, Role
from numcheck.errors import BadIdentity
from numcheck.rpc.access import token_tag
from numcheck.rpc.calls import parsed, refusing, timestamp
from numcheck.rpc.pushing import Outside
from numcheck.store import Identities, KnownIdentity
from numcheck.v1 import identity_pb2

SERVICE_NAME = "numcheck.v1.IdentityService"
ROLES = {
    Role.MESSENGER: identity_pb2.ROLE_MESSENGER,
    Role.OPERATOR: identity_pb2.ROLE_OPERATOR,
    Role.CLEARING_HOUSE: identity_pb2.ROLE_CLEARING_HOUSE,
    Role.AUDITOR: identity_pb2.ROLE_AUDITOR,
    Role.ADMINISTRATOR: identity_pb2.ROLE_ADMINISTRATOR,
}


class IdentityService:
    """Keeps identities in the store."""

    name = SERVICE_NAME

    def __init__(
        self,
        identities: Identities,
        outside: Outside,
        *,
        token_key: bytes,
        changed: Callable[[], None],
        by: Callable[[], str],
    ) -> None:
        """`changed` is called after each change, so that it holds at once; `by` names who makes it."""
        self._identities, self._outside, self._token_key = identities, outside, token_key
        self._changed, self._by = changed, by

    def add_identity(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """A new identity."""
        message = parsed(identity_pb2.AddIdentityRequest, request).identity
        self._identities.add(identity_of(message), now=self._outside.now(), by=self._by())
        self._changed()
        return identity_pb2.AddIdentityResponse().SerializeToString()

    def list_identities(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        """Every identity and agreement."""
        found = self._identities.whole()
        return identity_pb2.ListIdentitiesResponse(
            identities=[_message(one) for one in found.identities],
            agreements=[
                identity_pb2.Agreement(service=service, operator_id=operator_id)
                for service, operator_id in found.agreements
            ],
        ).SerializeToString()

    def revoke_identity(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """An identity that may call no more."""
        uri = parsed(identity_pb2.RevokeIdentityRequest, request).uri
        self._identities.revoke(uri, now=self._outside.now(), by=self._by())
        self._changed()
        return identity_pb2.RevokeIdentityResponse().SerializeToString()

    def issue_token(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """A token, of which the store keeps a keyed hash."""
        token = self._outside.new_token()
        uri, tag = parsed(identity_pb2.IssueTokenRequest, request).uri, token_tag(self._token_key, token)
        self._identities.set_token(uri, tag, now=self._outside.now(), by=self._by())
        self._changed()
        return identity_pb2.IssueTokenResponse(token=token).SerializeToString()

    def add_agreement(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """A contract of a service with an operator."""
        message = parsed(identity_pb2.AddAgreementRequest, request).agreement
        self._identities.agree(message.service, message.operator_id, now=self._outside.now(), by=self._by())
        self._changed()
        return identity_pb2.AddAgreementResponse().SerializeToString()

    def end_agreement(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """The end of one."""
        message = parsed(identity_pb2.EndAgreementRequest, request).agreement
        self._identities.end_agreement(message.service, message.operator_id, now=self._outside.now(), by=self._by())
        self._changed()
        return identity_pb2.EndAgreementResponse().SerializeToString()

    def methods(self) -> dict[str, Callable[[bytes, grpc.ServicerContext], bytes]]:
        """Each method by its name: bytes in, bytes out, or an error of ours."""
        return {
            "AddIdentity": self.add_identity,
            "ListIdentities": self.list_identities,
            "RevokeIdentity": self.revoke_identity,
            "IssueToken": self.issue_token,
            "AddAgreement": self.add_agreement,
            "EndAgreement": self.end_agreement,
        }

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service as grpcio registers it."""
        unary = grpc.unary_unary_rpc_method_handler
        handlers: dict[str, Any] = {name: unary(refusing(method)) for name, method in self.methods().items()}
        return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)


def identity_of(message: identity_pb2.Identity) -> Identity:
    """The identity that a message speaks of; BadIdentity if it has no role."""
    role = next((role for role, number in ROLES.items() if number == message.role), None)
    if role is None:
        raise BadIdentity("the identity has no role", "identity.role")
    return Identity(message.uri, role, message.operator_id or None, message.service or None)


def _message(known: KnownIdentity) -> identity_pb2.Identity:
    identity = known.identity
    return identity_pb2.Identity(
        uri=identity.uri,
        role=ROLES[identity.role],
        operator_id=identity.operator_id or 0,
        service=identity.service or "",
        has_token=known.token_tag is not None,
        added_at=timestamp(known.added_at),
        revoked_at=None if known.revoked_at is None else timestamp(known.revoked_at),
    )
