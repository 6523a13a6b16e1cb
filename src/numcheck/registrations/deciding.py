"""Decide what a verification comes to: from the alternatives of its policy, what the user has proved, and what the
operator says (E.1, E.2). No I/O.

Alternatives are tried in order. Of each the operator's no is looked at first, so that no code is sent for it; then the
user proves the steps, one after the other; then the operator's yes confirms, and its silence leads to the next
alternative, which what was proved already may meet.
"""

from collections.abc import Callable, Collection, Sequence
from enum import Enum, StrEnum
from typing import NamedTuple

from numcheck.registrations.policy import Alternative, Judgement, Method


class Move(Enum):
    """The next move of a verification."""

    CONFIRM = "confirm"
    """All steps of an alternative have confirmed."""
    DENY = "deny"
    """The operator says no."""
    WAIT = "wait"
    """The user has to prove a step."""
    STOP = "stop"
    """Nothing can be done now."""


class Problem(StrEnum):
    """Why nothing waits for the user, where no error says it. The words are the API's."""

    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    """A code cannot be delivered by this node that way."""
    OPERATOR_SILENT = "OPERATOR_SILENT"
    """The operator's data says nothing: there is none, it is too old, or the service has no agreement."""
    ATTESTATION_NEEDED = "ATTESTATION_NEEDED"
    """The policy has only assertions of authorities, which have to be asked for."""
    NUMBER_DENIED = "NUMBER_DENIED"
    """The operator says no of the number that the user wants to change to."""
    NUMBER_UNCHANGED = "NUMBER_UNCHANGED"
    """The user has the number already that they want to change to."""


class Decision(NamedTuple):
    """The next move, and, as far as each means something then: the step to wait for, the alternatives left, whether
    the operator's answer decides, and the obstacle."""

    move: Move
    step: Method | None = None
    left: tuple[Alternative, ...] = ()
    by_operator: bool = False
    problem: str = ""


def decide(
    alternatives: Sequence[Alternative],
    proved: Collection[Method],
    operator_says: Judgement,
    *,
    can_begin: Callable[[Method], bool],
) -> Decision:
    """Return what comes next. `can_begin` tells whether the user can be asked for a step here and now."""
    problem = Problem.ATTESTATION_NEEDED
    for place, steps in enumerate(alternatives):
        missing = [step for step in steps if step is not Method.OPERATOR and step not in proved]
        by_operator = Method.OPERATOR in steps
        if problem is Problem.METHOD_NOT_ALLOWED and steps == (Method.OPERATOR,):
            # The operator's word does not take the place of a code that cannot be sent: it would verify whoever types
            # a stranger's number.
            continue
        if by_operator and operator_says is Judgement.DENIED:
            return Decision(Move.DENY, by_operator=True)
        if not all(map(can_begin, missing)):
            problem = Problem.METHOD_NOT_ALLOWED
        elif missing:
            return Decision(Move.WAIT, missing[0], tuple(alternatives[place:]))
        elif not by_operator or operator_says is Judgement.CONFIRMED:
            return Decision(Move.CONFIRM, by_operator=by_operator)
        elif problem is Problem.ATTESTATION_NEEDED:
            problem = Problem.OPERATOR_SILENT
    return Decision(Move.STOP, problem=problem)
