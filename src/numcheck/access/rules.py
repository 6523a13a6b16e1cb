"""The table of methods and roles, and the rules about whose data a caller may touch (R7).

A caller is known by a URI: the SAN URI of a client's certificate, or the name that a bearer token was given to. It
has one role. What a role may call stands in METHODS; what it may call it on, in the checks below.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from numcheck.errors import BadCaller, NotPermitted, UnknownMethod
from numcheck.names import SERVICE_RULE, is_service

URI = re.compile(r"[a-z][a-z0-9+.-]{1,31}://[A-Za-z0-9._~/-]{1,200}")


class Role(StrEnum):
    """The kind of a caller: a caller has one."""

    MESSENGER = "messenger"
    """A service: it checks numbers, and sees the data of operators that it has an agreement with."""
    OPERATOR = "operator"
    """It pushes its own active numbers, and reads its own state."""
    CLEARING_HOUSE = "clearing-house"
    """It pushes portings."""
    AUDITOR = "auditor"
    """It reads states and events, and changes nothing."""
    ADMINISTRATOR = "administrator"
    """It may do everything."""
    FOLLOWER = "follower"
    """A check-only node: it fetches the index and the callers, and so every operator's active numbers."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller. An operator has its `operator_id`, a messenger its `service`; the others have neither."""

    uri: str
    role: Role
    operator_id: int | None = None
    service: str | None = None

    @property
    def party(self) -> str:
        """The party that shares places with others: the callers of one operator, or of one service, are one."""
        if self.operator_id is not None:
            return f"operator {self.operator_id}"
        return self.uri if self.service is None else f"service {self.service}"


class About(StrEnum):
    """Whose data a method is about, and so what it holds a caller to besides the role."""

    NOBODY = "nobody"
    """Nobody's in particular."""
    OPERATOR = "operator"
    """An operator's: an operator calls it for its own alone, a clearing house for the portings alone."""
    SERVICE = "service"
    """A service's: a messenger calls it for its own alone."""


class Runs(StrEnum):
    """How a method runs."""

    QUICK = "quick"
    """By a few threads that take all calls that wait: it never waits for anybody but the store."""
    LOOKUP = "lookup"
    """As QUICK, in steps: those that a thread has taken look into the store together."""
    GROUPED = "grouped"
    """In steps, by one thread that takes all calls that wait: they share transactions."""
    WAITING = "waiting"
    """By a thread of its own out of a bounded pool: it waits for a commit, an operator, a gateway or its caller."""
    EACH = "each"
    """As QUICK, each message of a stream for itself: between two of them there is nothing but the stream."""
    EXCHANGE = "exchange"
    """As WAITING, with answers while its caller goes on sending: it ends when its caller does."""
    WATCH = "watch"
    """Without a thread: woken when something may have changed."""
    FEED = "feed"
    """The same, and at the pace at which its caller takes what it is sent."""


class Method(NamedTuple):
    """A row of the table of methods. What goes over its stream is in its .proto file."""

    roles: frozenset[Role]
    about: About = About.NOBODY
    runs: Runs = Runs.WAITING


ANYBODY = frozenset(Role)
_CHECKING = frozenset({Role.MESSENGER, Role.ADMINISTRATOR})
_PUSHING = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
_PORTING = frozenset({Role.CLEARING_HOUSE, Role.ADMINISTRATOR})
_READING = frozenset({Role.OPERATOR, Role.CLEARING_HOUSE, Role.AUDITOR, Role.ADMINISTRATOR})
_AUDITING = frozenset({Role.AUDITOR, Role.ADMINISTRATOR})
_ADMINISTERING = frozenset({Role.ADMINISTRATOR})
_FOLLOWING = frozenset({Role.FOLLOWER, Role.ADMINISTRATOR})
_CHECK, _NUMBERING = "/numcheck.v1.CheckService", "/numcheck.v1.NumberingService"
_CALLER, _REGISTRATION = "/numcheck.v1.CallerService", "/numcheck.v1.RegistrationService"
_AUDIT, _EDITION = "/numcheck.v1.AuditService", "/numcheck.v1.EditionService"

METHODS: dict[str, Method] = {
    f"{_CHECK}/CheckNumber": Method(_CHECKING, runs=Runs.QUICK),
    f"{_CHECK}/CheckNumbers": Method(_CHECKING, runs=Runs.QUICK),
    f"{_CHECK}/StreamCheckNumbers": Method(_CHECKING, runs=Runs.EACH),
    f"{_CHECK}/CheckRecycled": Method(_CHECKING, runs=Runs.QUICK),
    f"{_CHECK}/ListOperators": Method(ANYBODY, runs=Runs.QUICK),
    f"{_NUMBERING}/PushActiveNumbers": Method(_PUSHING, About.OPERATOR),
    f"{_NUMBERING}/ConfirmPush": Method(_PUSHING, About.OPERATOR),
    f"{_NUMBERING}/RejectHeldPush": Method(_PUSHING, About.OPERATOR),
    f"{_NUMBERING}/ListHeldPushes": Method(_PUSHING, About.OPERATOR, runs=Runs.QUICK),
    f"{_NUMBERING}/WatchIdentifications": Method(_PUSHING, About.OPERATOR, runs=Runs.FEED),
    f"{_NUMBERING}/GetOperatorState": Method(_READING, About.OPERATOR),
    f"{_NUMBERING}/PushPortings": Method(_PORTING),
    f"{_NUMBERING}/ImportNumberingPlan": Method(_ADMINISTERING),
    f"{_NUMBERING}/WatchIndex": Method(ANYBODY, runs=Runs.WATCH),
    f"{_REGISTRATION}/Register": Method(_CHECKING, About.SERVICE, runs=Runs.GROUPED),
    f"{_REGISTRATION}/GetRegistration": Method(_CHECKING, About.SERVICE, runs=Runs.LOOKUP),
    f"{_REGISTRATION}/ListRegistrations": Method(_CHECKING, About.SERVICE, runs=Runs.QUICK),
    f"{_REGISTRATION}/DeleteRegistration": Method(_CHECKING, About.SERVICE, runs=Runs.GROUPED),
    f"{_REGISTRATION}/RefreshRegistration": Method(_CHECKING, About.SERVICE, runs=Runs.GROUPED),
    f"{_REGISTRATION}/StartVerification": Method(_CHECKING, About.SERVICE, runs=Runs.GROUPED),
    f"{_REGISTRATION}/CompleteVerification": Method(_CHECKING, About.SERVICE, runs=Runs.GROUPED),
    f"{_REGISTRATION}/ChangeNumber": Method(_CHECKING, About.SERVICE, runs=Runs.GROUPED),
    f"{_REGISTRATION}/ImportRegistrations": Method(_CHECKING, About.SERVICE, runs=Runs.EXCHANGE),
    f"{_REGISTRATION}/SummarizeRegistrations": Method(_CHECKING, About.SERVICE),
    f"{_REGISTRATION}/ReverifyRegistrations": Method(_CHECKING, About.SERVICE, runs=Runs.FEED),
    f"{_REGISTRATION}/WatchRegistrations": Method(_CHECKING, About.SERVICE, runs=Runs.FEED),
    f"{_CALLER}/AddCaller": Method(_ADMINISTERING),
    f"{_CALLER}/ListCallers": Method(_AUDITING, runs=Runs.QUICK),
    f"{_CALLER}/RevokeCaller": Method(_ADMINISTERING),
    f"{_CALLER}/IssueToken": Method(_ADMINISTERING),
    f"{_CALLER}/AddAgreement": Method(_ADMINISTERING),
    f"{_CALLER}/EndAgreement": Method(_ADMINISTERING),
    f"{_AUDIT}/GetHead": Method(_AUDITING, runs=Runs.QUICK),
    f"{_AUDIT}/ExportEvents": Method(_AUDITING, runs=Runs.FEED),
    f"{_AUDIT}/ListRowDigests": Method(_AUDITING, runs=Runs.FEED),
    f"{_EDITION}/WatchEditions": Method(_FOLLOWING, runs=Runs.WATCH),
    f"{_EDITION}/FetchFile": Method(_FOLLOWING, runs=Runs.QUICK),
    "/grpc.health.v1.Health/Check": Method(ANYBODY, runs=Runs.QUICK),
    "/grpc.health.v1.Health/Watch": Method(ANYBODY, runs=Runs.WATCH),
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Method(ANYBODY, runs=Runs.EACH),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Method(ANYBODY, runs=Runs.EACH),
}
"""Each method: who may call it, on whose data, and how it runs. One that is not here may be called by nobody; a test
holds it so."""


RATED = {path.rpartition("/")[2]: path for path in METHODS if path.startswith((_NUMBERING, _REGISTRATION, _AUDIT))}
"""The methods whose calls a setting may bound by the second, by name. Checks are answered without Python, and bounded
by budgets of new numbers; who administers callers is not kept from it."""


LOOPBACK_TOKEN = Caller("loopback token", Role.ADMINISTRATOR)
"""The caller of a plaintext listener who shows the token of the data directory."""


def local_user(uid: int | None) -> Caller:
    """Return the caller of a plaintext listener: a user of this machine, as the administrator. None: of unknown id."""
    return Caller(f"loopback uid {'unknown' if uid is None else uid}", Role.ADMINISTRATOR)


def check_call(caller: Caller, method: str) -> None:
    """Raise NotPermitted if the caller's role may not call the method; UnknownMethod if it is not in the table."""
    if method not in METHODS:
        raise UnknownMethod("this node has no such method")
    if caller.role not in METHODS[method].roles:
        raise NotPermitted(f"the role {caller.role} may not call {method}")


def check_operator(caller: Caller, operator_id: int) -> None:
    """Raise NotPermitted if an operator speaks of another's numbers, or a clearing house of any operator's."""
    if caller.role is Role.OPERATOR and caller.operator_id != operator_id:
        raise NotPermitted("an operator may touch its own active numbers only", caller.operator_id)
    if caller.role is Role.CLEARING_HOUSE:
        raise NotPermitted("a clearing house may touch the portings only", 0)


def check_clearing_house(caller: Caller) -> None:
    """Raise NotPermitted if an operator speaks of the portings."""
    if caller.role is Role.OPERATOR:
        raise NotPermitted("an operator may touch its own active numbers only", caller.operator_id)


def check_own_service(caller: Caller, service: str) -> None:
    """Raise NotPermitted if a messenger speaks of another service's registrations."""
    if caller.role is Role.MESSENGER and caller.service != service:
        raise NotPermitted("a service sees and changes its own registrations only")


def check_caller(caller: Caller) -> None:
    """Raise BadCaller if it cannot be one: its URI is none, or its role goes with what it lacks."""
    if URI.fullmatch(caller.uri) is None:
        message = "a caller is known by a URI such as numcheck://operator/mts, at most 200 characters"
        raise BadCaller(message, "caller.uri")
    if (caller.role is Role.OPERATOR) != (caller.operator_id is not None):
        message = "the role operator goes with an operator, and no other role does"
        raise BadCaller(message, "caller.operator_id")
    if (caller.role is Role.MESSENGER) != (caller.service is not None):
        raise BadCaller("the role messenger goes with a service, and no other role does", "caller.service")
    if caller.service is not None:
        check_service(caller.service, "caller.service")


def check_service(service: str, field: str = "agreement.service") -> None:
    """Raise BadCaller if a service cannot have that name; `field` is where it stood."""
    if not is_service(service):
        raise BadCaller(SERVICE_RULE, field)
