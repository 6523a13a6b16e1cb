"""The ledger: what clients meant to do and what they were answered, outside of the node and on disk.

Invariants: an intent is on disk before anything of it is sent; an answer is on disk before its client goes on. So what
the ledger calls acknowledged was acknowledged, and what has no answer may have happened or not.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any


class Violation(AssertionError):
    """What the node holds or says is not what the ledger allows."""


class Ledger:
    """Lines of JSON, each durable when its call returns. Any thread may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._file = path.open("ab")
        self._next = 0

    def intend(self, **intent: Any) -> int:
        """Write down what is about to be sent; the number by which its answer is filed."""
        with self._turn:
            self._next += 1
            self._append({"intent": self._next, **intent})
            return self._next

    def answer(self, intent: int, **answer: Any) -> None:
        """Write down what came back for an intent."""
        with self._turn:
            self._append({"answer": intent, **answer})

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
        os.fsync(self._file.fileno())
