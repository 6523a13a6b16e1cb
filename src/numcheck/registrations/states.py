"""The states of a registration, and what may move it: one table, and nothing else moves a registration."""

from enum import IntEnum, StrEnum

from numcheck.errors import WrongState


class RegistrationState(IntEnum):
    """The values are the API's and the store's."""

    PENDING = 1
    VERIFIED = 2
    REJECTED = 3
    OVERDUE = 4
    REVOKED = 5
    DELETED = 6


class EventKind(StrEnum):
    """The kinds of events of a registration. The words are the event log's."""

    REGISTER = "registered"
    START = "started"
    PROVE = "proved"
    CONFIRM = "confirmed"
    DENY = "denied"
    FAIL = "failed"
    REFRESH = "refreshed"
    REMIND = "due"
    MISS = "overdue"
    WITHDRAW = "withdrawn"
    DELETE = "deleted"
    ASK_CHANGE = "change_started"
    DENY_CHANGE = "change_denied"
    CHANGE = "changed"


_S, _E = RegistrationState, EventKind

TRANSITIONS: dict[tuple[RegistrationState | None, EventKind], RegistrationState] = {
    (None, _E.REGISTER): _S.PENDING,
    # It is imported, and begins where what is known of it leads.
    (None, _E.CONFIRM): _S.VERIFIED,
    (None, _E.DENY): _S.REJECTED,
    (None, _E.MISS): _S.OVERDUE,
    # A verification begins: who was refused may try again; who is overdue has to refresh first (I.6).
    (_S.PENDING, _E.START): _S.PENDING,
    (_S.VERIFIED, _E.START): _S.VERIFIED,
    (_S.REJECTED, _E.START): _S.PENDING,
    (_S.REVOKED, _E.START): _S.PENDING,
    # The user proves a step of it, and others are still to confirm.
    (_S.PENDING, _E.PROVE): _S.PENDING,
    (_S.VERIFIED, _E.PROVE): _S.VERIFIED,
    (_S.REJECTED, _E.PROVE): _S.REJECTED,  # of a change of number, as is the next
    (_S.REVOKED, _E.PROVE): _S.REVOKED,
    # It ends.
    (_S.PENDING, _E.CONFIRM): _S.VERIFIED,
    (_S.VERIFIED, _E.CONFIRM): _S.VERIFIED,
    (_S.PENDING, _E.DENY): _S.REJECTED,
    (_S.VERIFIED, _E.DENY): _S.REVOKED,
    (_S.PENDING, _E.FAIL): _S.PENDING,
    (_S.VERIFIED, _E.FAIL): _S.VERIFIED,
    (_S.REJECTED, _E.FAIL): _S.REJECTED,  # of a change of number, as is the next
    (_S.REVOKED, _E.FAIL): _S.REVOKED,
    # The user wants another number: until that is verified the old one stands.
    (_S.PENDING, _E.ASK_CHANGE): _S.PENDING,
    (_S.VERIFIED, _E.ASK_CHANGE): _S.VERIFIED,
    (_S.REJECTED, _E.ASK_CHANGE): _S.REJECTED,
    (_S.REVOKED, _E.ASK_CHANGE): _S.REVOKED,
    (_S.PENDING, _E.DENY_CHANGE): _S.PENDING,
    (_S.VERIFIED, _E.DENY_CHANGE): _S.VERIFIED,
    (_S.REJECTED, _E.DENY_CHANGE): _S.REJECTED,
    (_S.REVOKED, _E.DENY_CHANGE): _S.REVOKED,
    (_S.PENDING, _E.CHANGE): _S.VERIFIED,
    (_S.VERIFIED, _E.CHANGE): _S.VERIFIED,
    (_S.REJECTED, _E.CHANGE): _S.VERIFIED,
    (_S.REVOKED, _E.CHANGE): _S.VERIFIED,
    # The user's information is taken anew.
    (_S.PENDING, _E.REFRESH): _S.PENDING,
    (_S.VERIFIED, _E.REFRESH): _S.VERIFIED,
    (_S.REJECTED, _E.REFRESH): _S.PENDING,
    (_S.OVERDUE, _E.REFRESH): _S.PENDING,
    (_S.REVOKED, _E.REFRESH): _S.PENDING,
    # Time passes.
    (_S.PENDING, _E.REMIND): _S.PENDING,
    (_S.VERIFIED, _E.REMIND): _S.VERIFIED,
    (_S.PENDING, _E.MISS): _S.OVERDUE,
    (_S.VERIFIED, _E.MISS): _S.OVERDUE,
    # The operator takes the number away, or another user has proved that they have it now.
    (None, _E.WITHDRAW): _S.REVOKED,
    (_S.VERIFIED, _E.WITHDRAW): _S.REVOKED,
    # The user is erased.
    (_S.PENDING, _E.DELETE): _S.DELETED,
    (_S.VERIFIED, _E.DELETE): _S.DELETED,
    (_S.REJECTED, _E.DELETE): _S.DELETED,
    (_S.OVERDUE, _E.DELETE): _S.DELETED,
    (_S.REVOKED, _E.DELETE): _S.DELETED,
}

IDENTIFIES = (EventKind.CONFIRM, EventKind.CHANGE)
"""Events by which a user is identified anew, whether or not they were before."""

# In these a registration falls due: in the others it may not use the messenger anyway.
FALLS_DUE = (RegistrationState.PENDING, RegistrationState.VERIFIED)


def after(state: RegistrationState | None, kind: EventKind) -> RegistrationState:
    """Return where a registration stands after the event; None is one that is not recorded yet. WrongState if it
    cannot happen."""
    try:
        return TRANSITIONS[state, kind]
    except KeyError:
        word = "not recorded" if state is None else state.name
        raise WrongState(f"the registration is {word}, so that it cannot be {kind.value}") from None


def allows(state: RegistrationState, kind: EventKind) -> bool:
    """Return True if the event can happen to a registration that stands there."""
    return (state, kind) in TRANSITIONS
