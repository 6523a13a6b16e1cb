"""When a call that did not reach its node, or was cut, is made again: for as long as a node takes to start anew."""

import random
import time
from collections.abc import Callable
from typing import Any

import grpc

from numcheck.client.failures import names_a_delay, reason_of, refusal_of
from numcheck.errors import CallRefused

PATIENCE_S = 180.0  # a node that rebuilds a country's index is back within a minute
FIRST_PAUSE_S = 0.5
PAUSE_MAX_S = 10.0

Tell = Callable[[str], None]


class Patience:
    """Makes calls of one node again, after pauses that grow, until `total_s` is over since a call failed first.

    A node that never was reached is not waited for: its address may be wrong.
    """

    def __init__(self, target: str, kind: type[CallRefused], total_s: float, tell: Tell) -> None:
        """`kind` of error is raised where the node refuses; `tell` is told why and for how long there is a pause."""
        self._target, self._kind, self._total_s, self._tell = target, kind, total_s, tell
        self._reached = False

    def call(self, attempt: Callable[[], Any], *, repeatable: bool = True) -> Any:
        """Return what the attempt returns; NumcheckError of a refusal, or of the last failure."""
        failed_at, pause_s = None, FIRST_PAUSE_S
        while True:
            try:
                found = attempt()
            except grpc.RpcError as error:
                failure = refusal_of(error, self._target, self._kind)
                self._reached = self._reached or reason_of(error) is not None
                failed_at = failed_at or time.monotonic()
                jittered_s = pause_s * random.uniform(0.5, 1)
                over = time.monotonic() + jittered_s > failed_at + self._total_s
                if over or not (repeatable and self._reached and _may_pass(error)):
                    raise failure from None
            else:
                self._reached = True
                return found
            self._tell(f"{failure}; trying again in {jittered_s:.1f} s")
            time.sleep(jittered_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _may_pass(error: Any) -> bool:
    """Return True if repeating this very call can help: the node is away, cannot just now, or has too many."""
    crowded = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and names_a_delay(error)
    return crowded or error.code() is grpc.StatusCode.UNAVAILABLE
