"""Feeds of the native door: calls that send events, with no thread of their own.

A feed is woken when there may be something to send, when its caller has taken what was sent, and, unless it is a watch,
every POLL_INTERVAL_S. It then uses a thread until nothing is left to send, or there is no room for it. The event loop
ends the call of a caller that takes nothing, which frees the feed's slots: nothing here waits for a caller.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import Enum, auto
from typing import TYPE_CHECKING

from numcheck.api.calls import Feed, Message, Pieces
from numcheck.api.errors import log_failure
from numcheck.deadline import Deadline
from numcheck.door.draining import STOPPING
from numcheck.door.feeds import POLL_INTERVAL_S
from numcheck.door.native import refusal
from numcheck.door.patience import give_back
from numcheck.errors import NodeStopping

if TYPE_CHECKING:
    from numcheck._edge import Call

THREADS = 4  # two more than re-verifications may take
WATCHES = ""  # stands for the watches where a feed has its service


class _State(Enum):
    RESTING = auto()
    RUNNING = auto()
    WOKEN = auto()  # while it runs
    ENDED = auto()


class _Over(Exception):
    """The feed has ended, or its caller has gone."""


class _Run:
    """One feed. It runs on one thread at a time, and keeps its slots until it has ended."""

    def __init__(self, call: "Call", feed: Feed, check: Callable[[], object], feeding: "Feeding") -> None:
        self.service = feed.service
        self._call, self._pieces, self._check, self._feeding = call, feed.pieces, check, feeding
        self._unsent: deque[bytes] = deque()
        self._state, self._lock = _State.RESTING, threading.Lock()
        with ExitStack() as slots:
            for one in feed.slots:
                slots.enter_context(one.take(feed.service))
            self._slots = slots.pop_all()

    def wake(self) -> None:
        """Run the feed, if it rests; if it runs, have it look once more before it rests."""
        with self._lock:
            if self._state is _State.RUNNING:
                self._state = _State.WOKEN
            if self._state is not _State.RESTING:
                return
            self._state = _State.RUNNING
        self._feeding.start(self._run)

    def _run(self) -> None:
        try:
            while self._send_piece() or self._was_woken():
                pass
        except _Over:
            self._end(None)
        except Exception as error:
            self._end(error)

    def _send_piece(self) -> bool:
        """Send the next piece; False if it was empty, or larger than the room for it. _Over at the end."""
        if not self._call.is_active():
            raise _Over
        ends = self._feeding.ended  # read before the piece, so that nothing written before the end is left out
        self._check()
        if not self._unsent:
            piece = next(self._pieces, None)
            if piece is None:
                raise _Over
            self._unsent.extend(piece)
            if ends and not self._unsent:
                raise NodeStopping(STOPPING)
        sent = False
        while self._unsent and self._call.has_room():
            self._call.answer(self._unsent.popleft(), last=False)
            sent = True
        self._call.send()
        return sent and not self._unsent

    def _was_woken(self) -> bool:
        """Return True if the feed was woken while it ran; else let it rest."""
        with self._lock:
            woken = self._state is _State.WOKEN
            self._state = _State.RUNNING if woken else _State.RESTING
            return woken

    def _end(self, error: Exception | None) -> None:
        """End the call, and give back its slots."""
        with self._lock:
            self._state = _State.ENDED
        self._call.wake = None
        self._feeding.forget(self)
        self._slots.close()
        if error is None:
            self._call.end()
        else:
            log_failure(error)
            self._call.end(*refusal(error))
        self._call.send()


class Feeding:
    """Every feed of a door, from construction to `close`."""

    def __init__(self) -> None:
        self.ended = False
        self._runs: set[_Run] = set()
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="feed")
        threading.Thread(target=self._poll, name="feeds-poll", daemon=True).start()

    def feed(self, call: "Call", feed: Feed, check: Callable[[], object]) -> None:
        """Begin a feed; `check` raises once its caller may not call any more. TooManyStreams if no slot is free."""
        run = _Run(call, feed, check, self)
        with self._lock:
            self._runs.add(run)
        call.wake = run.wake
        run.wake()

    def watch(self, call: "Call", message: Message, check: Callable[[], object]) -> None:
        """Send the message now, and again whenever it differs from the one sent last."""
        self.feed(call, Feed(WATCHES, _changes(message), ()), check)

    def notify(self, services: Collection[str]) -> None:
        """Wake the feeds of these services: there may be something to send."""
        with self._lock:
            found = [run for run in self._runs if run.service in services]
        for run in found:
            run.wake()

    def notify_watches(self) -> None:
        """Wake the watches: their messages may have changed."""
        self.notify((WATCHES,))

    def end(self) -> None:
        """End every feed once it has nothing left to send: the node stops, and its drain should wait for no feed."""
        self.ended = True
        with self._lock:
            services = {run.service for run in self._runs}
        self.notify(services)

    def close(self, deadline: Deadline | None = None) -> None:
        """Give the threads back, once the loops have stopped."""
        self._closed.set()
        give_back(self._threads, deadline=deadline)

    def start(self, step: Callable[[], None]) -> None:
        """Run `step` on the next free thread; never after `close`."""
        with contextlib.suppress(RuntimeError):
            self._threads.submit(step)

    def forget(self, run: _Run) -> None:
        """Drop a feed that has ended."""
        with self._lock:
            self._runs.discard(run)

    def _poll(self) -> None:
        """Wake the feeds for what other nodes and processes have written; watches show only this node's own state."""
        while not self._closed.wait(POLL_INTERVAL_S):
            with self._lock:
                services = {run.service for run in self._runs} - {WATCHES}
            self.notify(services)


def _changes(message: Message) -> Pieces:
    told = None
    while True:
        found = message()
        yield [] if found == told else [found]
        told = found
