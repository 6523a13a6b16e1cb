"""A worker does its pieces at once, when it is woken and when their time has come, and outlives whatever they raise."""

import threading

from structlog.testing import capture_logs

from numcheck.errors import StoreUnavailable
from numcheck.worker import Worker

NEVER_S = 3_600.0


class Pieces:
    """Notes each piece, and takes what the next does from a list: nothing, an error, or how long to wait."""

    def __init__(self, *outcomes: float | Exception) -> None:
        self._outcomes, self.done = iter(outcomes), threading.Semaphore(0)

    def __call__(self) -> float:
        self.done.release()
        outcome = next(self._outcomes, NEVER_S)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.done.acquire(timeout=60)


def test_pieces_are_done_at_once_in_time_and_when_woken():
    pieces = Pieces(0.0, NEVER_S, NEVER_S)
    worker = Worker("test", pieces, "it fails")
    worker.start()
    pieces.wait_for(2)
    worker.wake()
    pieces.wait_for(1)
    worker.stop()
    assert not pieces.done.acquire(blocking=False)


def test_first_piece_waits_for_its_time_unless_woken():
    pieces = Pieces()
    worker = Worker("test", pieces, "it fails", first_s=NEVER_S)
    worker.start()
    assert not pieces.done.acquire(blocking=False)
    worker.wake()
    pieces.wait_for(1)
    worker.stop()


def test_failures_are_tried_again_and_the_first_in_a_row_is_told_without_what_it_held():
    pieces = Pieces(
        StoreUnavailable("the store does not answer"),
        StoreUnavailable("the store does not answer"),
        0.0,
        ValueError("no word of this: 79160000001"),
    )
    worker = Worker("test", pieces, "it fails", retry_s=0.0)
    with capture_logs() as logs:
        worker.start()
        pieces.wait_for(5)
        worker.stop()
    assert [(one["event"], one["error"]) for one in logs] == [
        ("it fails", "StoreUnavailable"),
        ("it fails", "ValueError"),
    ]
    assert logs[0]["reason"] == "the store does not answer"
    assert "7916" not in repr(logs)


def test_worker_that_was_never_started_stops():
    Worker("test", Pieces(), "it fails").stop()
