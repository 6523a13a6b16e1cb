"""Runs the methods that Python answers for the native door, on a bounded number of threads.

The quick threads take turns at leading. Only the leader waits for calls: it takes all that wait, hands over those that
run on other threads, keeps its share of the quick ones, gives up the lead and answers its share. So the interpreter's
lock is taken once for many calls, no call is handed from thread to thread, and a slow call delays its own share alone.

Calls that read the store are answered together, as many as one thread has taken. Calls that write it go to the writer
(`grouping.py`).

A call that waits for others keeps one of the waiting threads for as long as it runs. The services in `kept` have
threads of their own, so that a crowd on the other services cannot keep an administrator out. On every kind of thread
callers are served in turn (`turns.py`). A feed uses a thread only while it has something to send and its caller takes
it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from numcheck.access import Runs
from numcheck.api.access import Admission, Call, call_of, checking, serve_call
from numcheck.api.calls import serve
from numcheck.api.errors import log_failure
from numcheck.deadline import Deadline
from numcheck.door.feeding import Feeding
from numcheck.door.grouping import Stepping, Writer, run_steps
from numcheck.door.methods import Method
from numcheck.door.native import refusal, trace_parent_of
from numcheck.door.turns import Crew, Turns
from numcheck.errors import NumcheckError

if TYPE_CHECKING:
    from numcheck._edge import Call as NativeCall
    from numcheck._edge import CallQueue

QUICK_THREADS = 2
SHARE_MAX = 64  # waiting calls that one thread takes at once
SEND_AFTER_S = 0.001
KEPT_THREADS = 2  # of each service in `kept`
BRIEF = {Runs.QUICK, Runs.LOOKUP, Runs.EACH, Runs.WATCH}  # run on the quick threads; of a watch only its beginning
ROOM_LOOK_S = 5.0  # between two looks whether a caller that takes nothing has gone


class CallerGone(Exception):
    """The caller went away before they had sent everything: nothing that they sent counts."""


class Pool:
    """Answers the calls of a queue, from construction to `stop`."""

    def __init__(
        self,
        queue: "CallQueue",
        methods: Mapping[str, Method],
        admission: Admission,
        feeding: Feeding,
        *,
        waiting_threads: int,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        self._queue, self._methods, self._admission, self._feeding = queue, methods, admission, feeding
        self._ready = Turns["NativeCall"]()
        self._lead = threading.Lock()
        self._waiting = Crew(waiting_threads, "waiting")
        self._kept = {name: Crew(KEPT_THREADS, f"waiting-{name}") for name in kept}
        self._writer = Writer(self._waiting)
        self._quick = [threading.Thread(target=self._run, name=f"quick-{i}", daemon=True) for i in range(QUICK_THREADS)]
        for thread in self._quick:
            thread.start()

    def stop(self, deadline: Deadline | None = None) -> None:
        """Take no more calls, and give the threads back; leave behind those that cannot be ended by the deadline."""
        deadline = deadline or Deadline()
        self._queue.close()
        deadline.join(*self._quick)
        self._writer.stop(deadline)
        for crew in (self._waiting, *self._kept.values()):
            crew.close(deadline)

    # --- the quick threads

    def _run(self) -> None:
        while self._lead_and_answer():
            pass

    def _lead_and_answer(self) -> bool:
        """Take a share of the calls and answer it, and keep no reference to any; False at the end."""
        with self._lead:
            share = self._take_share()
        if share is None:
            return False
        self._answer_share(share)
        return True

    def _take_share(self) -> "list[NativeCall] | None":
        """Wait for quick calls, and return some of them; None at the end."""
        calls = self._queue.take_ready() if self._ready else self._queue.take()
        while calls is not None:
            self._sort(calls)
            if self._ready:
                count = min(-(-len(self._ready) // QUICK_THREADS), SHARE_MAX)
                return [call for _ in range(count) if (call := self._ready.take())]
            calls = self._queue.take()
        return None

    def _answer_share(self, share: "list[NativeCall]") -> None:
        """Answer each call, and have the loops send the answers every SEND_AFTER_S."""
        answered: list[NativeCall] = []
        due = time.monotonic() + SEND_AFTER_S
        for call in self._look_up(share):
            self._answer(call)
            answered.append(call)
            if time.monotonic() > due:
                _send(answered)
                due = time.monotonic() + SEND_AFTER_S
        _send(answered)

    def _look_up(self, share: "list[NativeCall]") -> "list[NativeCall]":
        """Answer the calls that read the store, together, and return the others."""
        lookups: list[NativeCall] = []
        others: list[NativeCall] = []
        for call in share:
            (lookups if self._methods[call.path].runs is Runs.LOOKUP else others).append(call)
        for call in lookups:
            call.begin()
        going_on = self._begun(lookups)
        while going_on:
            going_on = run_steps(going_on, self._writer.start)
        return others

    def _sort(self, calls: "list[NativeCall]") -> None:
        grouped = []
        for call in calls:
            method = self._methods[call.path]
            if method.runs in BRIEF:
                self._ready.add(call.line, call)
            elif method.runs is Runs.GROUPED:
                grouped.append(call)
            else:
                crew = self._kept.get(method.service, self._waiting)
                crew.add(call.line, partial(self._answer_and_send, call))
        if grouped:
            self._writer.add(self._begun(grouped))

    # --- a call

    def _begun(self, calls: "list[NativeCall]") -> list[Stepping]:
        """Return those of the calls that somebody still waits for, ready to take their first step."""
        return [
            Stepping(call, self._made(call), self._methods[call.path].answer(call.request, call), refuse)
            for call in calls
            if call.is_active()
        ]

    def _made(self, call: "NativeCall") -> Call:
        return call_of(self._admission, call.caller.caller, call.caller.shown, call.path)

    def _answer_and_send(self, call: "NativeCall") -> None:
        self._answer(call)
        call.send()

    def _answer(self, call: "NativeCall") -> None:
        """Answer a call, if somebody still waits for it; every exception becomes a status."""
        call.begin()
        if not call.is_active():
            return
        try:
            serve(call, trace_parent_of)
            made = self._made(call)
            serve_call(made)
            self._answer_as(self._methods[call.path], call, made)
        except CallerGone:
            return
        except Exception as error:
            refuse(call, error)

    def _answer_as(self, method: Method, call: "NativeCall", made: Call) -> None:
        match method.runs:
            case Runs.WATCH:
                self._feeding.watch(call, method.answer(call.request), made.check)
            case Runs.FEED:
                self._feeding.feed(call, method.answer(call.request, call), made.check)
            case Runs.EXCHANGE:
                _exchange(method.answer(checking(_requests(call), made.check), call), call)
            case _ if method.streams_requests and method.runs is not Runs.EACH:
                call.answer(method.answer(checking(_requests(call), made.check), call), last=True)
            case _:
                call.answer(method.answer(call.request, call), last=method.runs is not Runs.EACH)


def _exchange(answers: Iterator[bytes], call: "NativeCall") -> None:
    """Send each answer as the caller makes room for it, and end the call; CallerGone if they have gone."""
    room = threading.Event()
    call.wake = room.set
    for answer in answers:
        call.answer(answer, last=False)
        call.send()
        while not call.has_room():
            if not call.is_active():
                raise CallerGone
            room.wait(ROOM_LOOK_S)
            room.clear()
    call.end()


def _send(answered: "list[NativeCall]") -> None:
    for call in answered:
        call.send()
    answered.clear()


def refuse(call: "NativeCall", error: Exception) -> None:
    """End the call with the error's status, and log it if it is not one of ours."""
    serve(call, trace_parent_of)
    if isinstance(error, NumcheckError) or call.is_active():
        log_failure(error)
    call.end(*refusal(error))


def _requests(call: "NativeCall") -> Iterator[bytes]:
    """Yield each request of a stream as it comes; raise CallerGone unless the caller itself has ended the stream."""
    get: Callable[[], Any] = call.requests.get
    while (request := get()) is not None:
        if request is ...:
            raise CallerGone
        call.taken(request)
        yield request
