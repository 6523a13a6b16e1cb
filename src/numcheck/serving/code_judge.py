"""A thread that judges codes by whether they came back, says in the data directory how couriers do, and has nodes
exchange the receipts that came to the wrong one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from numcheck.serving.courier_report import Row, rows_of, tell
from numcheck.serving.couriers import Delivery
from numcheck.serving.receipt_exchange import ReceiptExchange
from numcheck.worker import Worker

INTERVAL_S = 10.0

CameBack = Callable[[Sequence[bytes]], Mapping[bytes, bool]]
"""Returns for each of these verifications whose code is still known whether that came back."""


class CodeJudge:
    """Judges until it is stopped. A read that fails is tried again a second later."""

    def __init__(
        self, delivery: Delivery, came_back: CameBack, data_dir: Path, exchange: ReceiptExchange | None = None
    ) -> None:
        """`exchange` is with the other nodes of the store, if there may be any."""
        self._delivery, self._came_back, self._data_dir, self._exchange = delivery, came_back, data_dir, exchange
        self._told: list[Row] = []
        self._worker = Worker("code-judge", self.judge, "codes cannot be judged")

    def start(self) -> None:
        """Begin, if codes are sent at all."""
        if self._delivery.courier is not None:
            self._worker.start()

    def stop(self) -> None:
        """End after the piece under way."""
        self._worker.stop()

    def judge(self) -> float:
        """Judge the codes whose time is over; return after how long to look again."""
        ledger = self._delivery.ledger
        if self._exchange is not None:
            self._exchange.exchange()
        while due := ledger.due():
            found = self._came_back([bytes.fromhex(one) for one in due])
            ledger.judge(due, {verification_id.hex(): came_back for verification_id, came_back in found.items()})
        if (rows := rows_of(self._delivery)) != self._told:
            tell(self._data_dir, rows)
            self._told = rows
        return INTERVAL_S
