"""Outcomes of a load: how calls ended, how long they took, and what they cost who made them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from numcheck._load import Run

OK = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run. Of every call that was begun, one ending is counted: a status, or one of those without.

    Durations are histograms: how often, by the largest duration of a bucket, in nanoseconds, from the moment when a
    call was due.
    """

    wall_s: float = 0.0
    """Until the last call ended; of several generators, the longest."""
    cpu_s: float = 0.0
    """Processor time of the generators."""
    begun: int = 0
    in_time: int = 0
    """Answered OK before the time was over."""
    never_begun: int = 0
    """Due, and not sent: no connection had room."""
    statuses: Mapping[int, int] = field(default_factory=dict)
    """How many calls ended with each grpc-status."""
    closed: int = 0
    """Ended in order, with no grpc-status."""
    reset: int = 0
    """Reset by the server, with no grpc-status."""
    lost: int = 0
    """Their connection ended."""
    unanswered: int = 0
    """Open when the patience was over."""
    connects: int = 0
    connect_failures: int = 0
    goaways: int = 0
    sent: int = 0
    received: int = 0
    answered: Mapping[int, int] = field(default_factory=dict)
    """Durations of the calls with status OK."""
    refused: Mapping[int, int] = field(default_factory=dict)
    """Durations of those with another status."""
    begun_late: Mapping[int, int] = field(default_factory=dict)
    """Of an open loop: how late calls were sent."""

    @classmethod
    def of(cls, runs: Iterable["Run | Outcome"]) -> Self:
        """Return the outcome of generators that ran at the same time."""
        merged: dict[str, Any] = {}
        for name in (one.name for one in fields(cls)):
            values = [getattr(run, name) for run in runs]
            if isinstance(values[0], Mapping):
                merged[name] = dict(sum(map(Counter, values), Counter[int]()))
            else:
                merged[name] = max(values) if name == "wall_s" else sum(values)
        return cls(**merged)

    @property
    def failures(self) -> dict[str, int]:
        """Calls that did not end OK, by how they ended; none that counts nothing."""
        without_status = ("closed", "reset", "lost", "unanswered", "never_begun")
        by_status = {f"status {status}": count for status, count in self.statuses.items() if status != OK}
        return by_status | {name: getattr(self, name) for name in without_status if getattr(self, name)}

    def percentile_s(self, share: float) -> float:
        """Return the time in which this share of the calls was answered; inf if so many never were, 0 of no call.

        Calls without an answer count as slower than all others. Refusals have times of their own, and do not count.
        """
        rank = ceil(share * (sum(self.answered.values()) + self.unanswered + self.never_begun))
        for duration in sorted(self.answered):
            rank -= self.answered[duration]
            if rank <= 0:
                return duration / 1e9
        return inf if rank > 0 else 0.0
