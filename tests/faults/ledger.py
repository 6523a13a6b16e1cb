"""The ledger: what clients meant to do and what they were answered, outside of the node, in a file.

Invariants: an intent is written before anything of it is sent; an answer is written before its client goes on. So what
the ledger calls acknowledged was acknowledged, and what has no answer may have happened or not. (It is not
synchronised: the machine whose power fails is a model, and this file is not on it.)
"""

import json
import threading
from pathlib import Path
from typing import Any


class Violation(AssertionError):
    """What the node holds or says is not what the ledger allows."""


class Ledger:
    """Lines of JSON, each with the operating system when its call returns. Any thread may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Condition()
        self._file = path.open("ab")
        self._next, self._done = 0, 0

    def intend(self, **intent: Any) -> int:
        """Write down what is about to be sent; the number by which its answer is filed."""
        with self._turn:
            self._next += 1
            self._turn.notify_all()
            self._append({"intent": self._next, **intent})
            return self._next

    def wait_for_intents(self, count: int, given_up: threading.Event, patience_s: float) -> None:
        """Return after so many more intents, or once somebody has given up, or when patience is over."""
        with self._turn:
            wanted = self._next + count
            self._turn.wait_for(lambda: self._next >= wanted or given_up.is_set(), patience_s)

    @property
    def done_count(self) -> int:
        """How many answers said that something was done."""
        return self._done

    def wait_for_done(self, count: int, given_up: threading.Event, patience_s: float) -> None:
        """Return once so many answers said that something was done, or as `wait_for_intents` does."""
        with self._turn:
            self._turn.wait_for(lambda: self._done >= count or given_up.is_set(), patience_s)

    def give_up(self, event: threading.Event) -> None:
        """Set the event and wake who waits."""
        with self._turn:
            event.set()
            self._turn.notify_all()

    def answer(self, intent: int, **answer: Any) -> None:
        """Write down what came back for an intent: `refused` or `cut`, or else what was done."""
        with self._turn:
            self._append({"answer": intent, **answer})
            self._done += not answer.keys() & {"refused", "cut"}
            self._turn.notify_all()

    def note(self, **fact: Any) -> None:
        """Write down what happened to the node: a start, a kill, a power loss."""
        with self._turn:
            self._append(fact)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
