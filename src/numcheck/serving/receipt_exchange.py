"""Gives receipts to the node that sent the code, where they come to another one of the same store.

A balancer hands an HTTP gateway's reports to any node, and an SMSC sends receipts over any link of its account. A node
keeps those that it does not know in the store, for LOST_AFTER_S; each node looks for its own whenever codes are judged.
"""

import time
from collections.abc import Callable

from numcheck.serving.ledger import Ledger
from numcheck.store.stray_receipts import StrayReceipts

LOST_AFTER_S = 60.0  # seen by a node and taken by none: no node knows the message, or no more
READ_AT_ONCE = 10_000


class ReceiptExchange:
    """Exchanges what came since the last time. For one thread."""

    def __init__(self, ledger: Ledger, store: StrayReceipts, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._store, self._clock = ledger, store, clock
        self._seen_s: dict[bytes, float] = {}
        ledger.keep_strays()

    def exchange(self) -> None:
        """Hand over what is not this node's, take what is, and count what nobody knows."""
        if own := self._ledger.strays():
            self._store.put(own)
            self._ledger.drop_strays(len(own))
        now_s, waiting = self._clock(), self._store.waiting(count_max=READ_AT_ONCE)
        self._seen_s = {one: self._seen_s.get(one, now_s) for one in waiting}
        lost = {one for one, seen_s in self._seen_s.items() if now_s - seen_s > LOST_AFTER_S}
        wanted = [one for one, stray in waiting.items() if one in lost or self._ledger.knows(stray)]
        if wanted:
            for one in self._store.take(wanted):
                self._ledger.take_receipt(*waiting[one], is_stray=False)
