"""Where a registration stands, and what may move it: one table, and nothing else moves a registration."""

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


class Act(StrEnum):
    """What happens to a registration. The words are the event log's."""

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


_S, _A = RegistrationState, Act

TRANSITIONS: dict[tuple[RegistrationState | None, Act], RegistrationState] = {
    (None, _A.REGISTER): _S.PENDING,
    # It is imported, and begins where what is known of it leads.
    (None, _A.CONFIRM): _S.VERIFIED,
    (None, _A.DENY): _S.REJECTED,
    (None, _A.MISS): _S.OVERDUE,
    # A verification begins: who was refused may try again; who is overdue has to refresh first (I.6).
    (_S.PENDING, _A.START): _S.PENDING,
    (_S.VERIFIED, _A.START): _S.VERIFIED,
    (_S.REJECTED, _A.START): _S.PENDING,
    (_S.REVOKED, _A.START): _S.PENDING,
    # The user proves a step of it, and others are still to confirm.
    (_S.PENDING, _A.PROVE): _S.PENDING,
    (_S.VERIFIED, _A.PROVE): _S.VERIFIED,
    (_S.REJECTED, _A.PROVE): _S.REJECTED,  # of a change of number, as is the next
    (_S.REVOKED, _A.PROVE): _S.REVOKED,
    # It ends.
    (_S.PENDING, _A.CONFIRM): _S.VERIFIED,
    (_S.VERIFIED, _A.CONFIRM): _S.VERIFIED,
    (_S.PENDING, _A.DENY): _S.REJECTED,
    (_S.VERIFIED, _A.DENY): _S.REVOKED,
    (_S.PENDING, _A.FAIL): _S.PENDING,
    (_S.VERIFIED, _A.FAIL): _S.VERIFIED,
    (_S.REJECTED, _A.FAIL): _S.REJECTED,  # of a change of number, as is the next
    (_S.REVOKED, _A.FAIL): _S.REVOKED,
    # The user wants another number: until that is verified the old one stands.
    (_S.PENDING, _A.ASK_CHANGE): _S.PENDING,
    (_S.VERIFIED, _A.ASK_CHANGE): _S.VERIFIED,
    (_S.REJECTED, _A.ASK_CHANGE): _S.REJECTED,
    (_S.REVOKED, _A.ASK_CHANGE): _S.REVOKED,
    (_S.PENDING, _A.DENY_CHANGE): _S.PENDING,
    (_S.VERIFIED, _A.DENY_CHANGE): _S.VERIFIED,
    (_S.REJECTED, _A.DENY_CHANGE): _S.REJECTED,
    (_S.REVOKED, _A.DENY_CHANGE): _S.REVOKED,
    (_S.PENDING, _A.CHANGE): _S.VERIFIED,
    (_S.VERIFIED, _A.CHANGE): _S.VERIFIED,
    (_S.REJECTED, _A.CHANGE): _S.VERIFIED,
    (_S.REVOKED, _A.CHANGE): _S.VERIFIED,
    # The user's information is taken anew.
    (_S.PENDING, _A.REFRESH): _S.PENDING,
    (_S.VERIFIED, _A.REFRESH): _S.VERIFIED,
    (_S.REJECTED, _A.REFRESH): _S.PENDING,
    (_S.OVERDUE, _A.REFRESH): _S.PENDING,
    (_S.REVOKED, _A.REFRESH): _S.PENDING,
    # Time passes.
    (_S.PENDING, _A.REMIND): _S.PENDING,
    (_S.VERIFIED, _A.REMIND): _S.VERIFIED,
    (_S.PENDING, _A.MISS): _S.OVERDUE,
    (_S.VERIFIED, _A.MISS): _S.OVERDUE,
    # The operator takes the number away, or another user has proved that they have it now.
    (None, _A.WITHDRAW): _S.REVOKED,
    (_S.VERIFIED, _A.WITHDRAW): _S.REVOKED,
    # The user is erased.
    (_S.PENDING, _A.DELETE): _S.DELETED,
    (_S.VERIFIED, _A.DELETE): _S.DELETED,
    (_S.REJECTED, _A.DELETE): _S.DELETED,
    (_S.OVERDUE, _A.DELETE): _S.DELETED,
    (_S.REVOKED, _A.DELETE): _S.DELETED,
}

IDENTIFIES = (Act.CONFIRM, Act.CHANGE)
"""Acts by which a user is identified anew, whether or not they were before."""

# In these a registration falls due: in the others it may not use the messenger anyway.
FALLS_DUE = (RegistrationState.PENDING, RegistrationState.VERIFIED)


def after(state: RegistrationState | None, act: Act) -> RegistrationState:
    """Return where a registration stands after the act; None is one that is not recorded yet. WrongState if it cannot
    be."""
    try:
        return TRANSITIONS[state, act]
    except KeyError:
        word = "not recorded" if state is None else state.name
        raise WrongState(f"the registration is {word}, so that it cannot be {act.value}") from None


def allows(state: RegistrationState, act: Act) -> bool:
    """Return True if the act can happen to a registration that stands there."""
    return (state, act) in TRANSITIONS
