"""Steps: what calls that run at the same time do in one go.

A rule about one call is a generator. It yields each step that it can take together with others, such as a look into the
store or a transaction, and is sent what the step comes to. So a rule reads as if its call were alone, and whoever runs
many calls takes the same step of all of them at once, with no thread for each.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Together(NamedTuple):
    """A step that many calls take at once: `run` gets the argument of each call, and returns what each comes to.

    That is a value, or an exception, which is raised where the call waits for the step. An exception of `run` itself is
    raised in each of the calls.
    """

    run: Callable[[Sequence[Any]], Sequence[Any]]
    argument: Any


class Alone(NamedTuple):
    """A step that waits for somebody other than the store: a gateway, an operator. It holds up no other call."""

    run: Callable[[], Any]


Step = Together | Alone
Steps = Generator[Step, Any, T]
"""A call that takes steps, and returns its result."""


def advanced(steps: Steps[T], outcome: Any) -> Step:
    """Give a call what its last step came to, None at first, and return its next step. StopIteration at its end."""
    if isinstance(outcome, Exception):
        return steps.throw(outcome.with_traceback(None))  # calls may share it
    return steps.send(outcome)


def alone(steps: Steps[T]) -> T:
    """Take all steps of one call, and return its result."""
    outcome: Any = None
    try:
        while True:
            outcome = outcome_of(advanced(steps, outcome))
    except StopIteration as end:
        result: T = end.value
        return result


def outcome_of(step: Step) -> Any:
    """Take a step of one call, and return what it comes to: a value, or an exception."""
    if isinstance(step, Together):
        return outcomes_of(step.run, [step.argument])[0]
    try:
        return step.run()
    except Exception as error:
        return error


def outcomes_of(run: Callable[[Sequence[Any]], Sequence[Any]], arguments: Sequence[Any]) -> Sequence[Any]:
    """Take the same step of many calls, and return what each comes to."""
    try:
        return run(arguments)
    except Exception as error:
        return [error] * len(arguments)
