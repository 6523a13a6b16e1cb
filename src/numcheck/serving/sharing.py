"""Shares the background work of an installation among its nodes: each piece is one node's, until that dies.

A node beats every second. A piece of work goes to the first node that asks for it; others watch whether that node
beats, each by its own clock. A node that is not seen to beat for DEAD_AFTER_S loses all its leases to whoever sees it
first, TAKEN_OVER_WITHIN_S after its death at the latest. By then it believes in none of them any more, should it live
after all; and what it writes under one is refused by the store.

Where the store is this node's alone, there is nobody to share with: it takes every lease as it begins, and never beats
again.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from numcheck.errors import LeaseLost, NumcheckError
from numcheck.moments import microseconds
from numcheck.store.leases import Lease, LeaseRow, Leases, NodeReport, NodeRow, Seen
from numcheck.worker import Worker

log = structlog.get_logger()

INTERVAL_S = 1.0  # at which a node beats, and looks at the others
DEAD_AFTER_S = 5.0  # without a beat that was seen
TRUSTED_FOR_S = 4.0  # from when a beat began: less than what others wait for
TAKEN_OVER_WITHIN_S = 10.0
BLIND_AFTER_S = 3.0  # without a look: what was seen before says nothing of who beats now
ALONE_INTERVAL_S = 3_600.0


class _Heard(NamedTuple):
    """How often a node had beaten when that was seen to change last, and when that was."""

    beat: int
    at_s: float


class Peer(NamedTuple):
    """A node that beats: for how long no beat of it has been seen, and the background work that it does."""

    node: NodeRow
    is_this: bool
    silent_s: float
    work: list[str]


class Duty:
    """A piece of background work that this node does while it has the lease of its name. Safe from any thread."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name, self._clock = name, clock
        self._lease: Lease | None = None
        self._until_s = 0.0
        self.on_taken: Callable[[], None] = lambda: None

    @property
    def held(self) -> bool:
        """True while the lease is this node's, as far as it knows."""
        return self.try_lease() is not None

    def try_lease(self) -> Lease | None:
        """Return the lease; None while it is not this node's, or that is not known."""
        return self._lease if self._clock() < self._until_s else None

    def lease(self) -> Lease:
        """Return the lease, under which the work's results are written; LeaseLost."""
        lease = self.try_lease()
        if lease is None:
            raise LeaseLost(f"this node does not have the lease of {self.name}")
        return lease

    def attempt(self, work: Callable[[], object]) -> None:
        """Do some of the work if it is this node's; what another node has taken meanwhile is left to that."""
        if self.held:
            with suppress(LeaseLost):
                work()

    def hold(self, lease: Lease | None, until_s: float) -> None:
        """Note that the node has the lease until then, or has none."""
        is_new = lease is not None and lease != self._lease
        self._lease, self._until_s = lease, until_s
        if is_new:
            self.on_taken()


class Sharing:
    """Takes, keeps and gives back a node's leases, from `start` to `stop`."""

    def __init__(
        self,
        leases: Leases,
        name: str,
        told: Callable[[], NodeReport],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`name` is what people know the node by, and `told` what it tells of itself; `clock` gives seconds, and only
        runs forward."""
        self._leases, self._name, self._told, self._clock, self._now = leases, name, told, clock, now
        self.node_id = secrets.token_hex(8)
        self._duties: list[Duty] = []
        self._heard: dict[str, _Heard] = {}
        self._looked_at_s = clock()
        self.node_count: int | None = None
        """Number of nodes that beat, this one among them; None before they were seen."""
        self.peers: list[Peer] = []
        """The nodes of a store that may have several, as they were seen last, the oldest first."""
        self._worker = Worker("leases", self.look, "the leases of background work cannot be kept", retry_s=INTERVAL_S)

    def duty(self, name: str) -> Duty:
        """Return a piece of work that this node is to do while no other does; only before `start`."""
        duty = Duty(name, self._clock)
        self._duties.append(duty)
        return duty

    @property
    def held(self) -> Mapping[str, bool]:
        """The work by name: True where it is this node's."""
        return {duty.name: duty.held for duty in self._duties}

    def start(self) -> None:
        """Begin to beat."""
        self._worker.start()

    def stop(self) -> None:
        """Give every lease back, so that others go on at once; whoever does the work has stopped."""
        self._worker.stop()
        for duty in self._duties:
            duty.hold(None, 0.0)
        try:
            self._leases.leave(self.node_id)
        except NumcheckError:
            log.info("the leases of this node end by themselves, as the store does not answer")

    def look(self) -> float:
        """Beat, and take what nobody has; return after how many seconds to look again."""
        began_s = self._clock()
        self._leases.beat(self.node_id, self._name, microseconds(self._now()), self._told())
        seen = self._leases.look()
        living = self._living(seen)
        shared = self._leases.shared
        for duty in self._duties:
            row = seen.leases.get(duty.name)
            lease = self._own(row) if row is not None and row.node_id in living else self._try_take(duty.name, row)
            duty.hold(lease, began_s + TRUSTED_FOR_S if shared else float("inf"))
        self.node_count = len(living)
        self.peers = [self._peer(one, seen) for one in seen.nodes.values() if shared and one.node_id in living]
        return INTERVAL_S if shared else ALONE_INTERVAL_S

    def _peer(self, node: NodeRow, seen: Seen) -> Peer:
        held = sorted(one.name for one in seen.leases.values() if one.node_id == node.node_id)
        return Peer(node, node.node_id == self.node_id, self._clock() - self._heard[node.node_id].at_s, held)

    def _own(self, row: LeaseRow) -> Lease | None:
        return Lease(row.name, row.node_id, row.term) if row.node_id == self.node_id else None

    def _try_take(self, name: str, before: LeaseRow | None) -> Lease | None:
        lease = self._leases.try_take(name, before, self.node_id, microseconds(self._now()))
        if lease is not None and before is not None:
            log.info("background work goes on at this node", lease=name, term=lease.term)
        return lease

    def _living(self, seen: Seen) -> set[str]:
        """Return the nodes that beat, by their ids; those that do not are removed from the store."""
        now_s = self._clock()
        if now_s - self._looked_at_s > BLIND_AFTER_S:
            self._heard.clear()
        self._looked_at_s = now_s
        known = self._heard
        self._heard = {
            one.node_id: known[one.node_id]
            if one.node_id in known and known[one.node_id].beat == one.beat
            else _Heard(one.beat, now_s)
            for one in seen.nodes.values()
        }
        return {
            one.node_id for one in seen.nodes.values() if not (self._is_dead(one, now_s) and self._leases.bury(one))
        }

    def _is_dead(self, node: NodeRow, now_s: float) -> bool:
        if node.node_id == self.node_id:
            return False
        return not self._leases.shared or now_s - self._heard[node.node_id].at_s >= DEAD_AFTER_S
