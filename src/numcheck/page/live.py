"""The figures of a node, a sample a second, for as long as anybody looks.

Invariants: while nobody looks, nothing is sampled; a sample is made once for all viewers; a viewer who is slow misses
samples, and holds nobody up.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from prometheus_client.registry import Collector

from numcheck.api.errors import log_failure
from numcheck.errors import TooManyStreams

INTERVAL_S = 1.0
VIEWERS_MAX = 16
VIEWERS_PER_CALLER_MAX = 12

FAMILIES = frozenset(
    f"numcheck_{name}"
    for name in (
        *("calls", "call_duration_seconds", "call_wait_seconds", "numbers", "connections", "held_bytes"),
        *("received_bytes", "sent_bytes", "index_version", "index_lag", "index_size_bytes"),
        *("directory_age_seconds", "callers_refused", "callers_revision", "witness_agrees"),
        *("store_answers", "store_revision", "store_latency_seconds", "store_failures"),
        *("active_numbers", "data_age_seconds", "held_pushes", "plan_age_seconds"),
        *("registrations", "registrations_due", "verifications", "revocation_lag_seconds", "events"),
        *("codes", "receipts", "codes_judged", "smsc_linked", "courier_rests"),
    )
)
"""The families of /metrics that the page shows."""


def samples_of(collector: Collector) -> dict[str, list[list[Any]]]:
    """Return what the page shows of the metrics: by the samples' name, each with its labels and its value."""
    found: dict[str, list[list[Any]]] = {}
    for family in collector.collect():
        if family.name in FAMILIES:
            for one in family.samples:
                found.setdefault(one.name, []).append([one.labels, one.value])
    return found


class Live:
    """Samples for viewers. Used from the page's event loop alone; `sample` runs in a thread."""

    def __init__(self, sample: Callable[[], bytes]) -> None:
        self._sample = sample
        self._viewers: Counter[str] = Counter()  # by who they are
        self._turn = asyncio.Condition()
        self._latest, self._count = b"", 0
        self._sampling: asyncio.Task[None] | None = None

    async def watch(self, caller: str) -> AsyncIterator[bytes]:
        """Yield the newest sample at once, and each later one; TooManyStreams if VIEWERS_MAX look already, or
        VIEWERS_PER_CALLER_MAX of the caller."""
        if self._viewers.total() >= VIEWERS_MAX or self._viewers[caller] >= VIEWERS_PER_CALLER_MAX:
            raise TooManyStreams("as many viewers as there is room for look at this node's figures already")
        self._viewers[caller] += 1
        if self._sampling is None:
            self._latest = b""
            self._sampling = asyncio.create_task(self._go_on())
        try:
            seen = self._count - bool(self._latest)
            while True:
                seen, sample = await self._after(seen)
                yield sample
        finally:
            self._viewers[caller] -= 1
            if not self._viewers.total() and self._sampling is not None:
                self._sampling.cancel()
                self._sampling = None

    async def _after(self, seen: int) -> tuple[int, bytes]:
        """Return the newest sample and how many there were, once there are more than were seen."""
        async with self._turn:
            await self._turn.wait_for(lambda: self._count > seen)
            return self._count, self._latest

    async def _go_on(self) -> None:
        while True:
            await self._take_sample()
            await asyncio.sleep(INTERVAL_S)

    async def _take_sample(self) -> None:
        try:
            sample = await asyncio.to_thread(self._sample)
        except Exception as error:  # the next one may be taken
            log_failure(error)
            return
        async with self._turn:
            self._latest = sample
            self._count += 1
            self._turn.notify_all()
