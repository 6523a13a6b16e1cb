"""Looks at the store again and again, so that who asks how it is never waits for it: it may be away."""

import time

from numcheck.config import Settings
from numcheck.store import Store
from numcheck.worker import Worker

INTERVAL_S = 1.0
ANSWERS_WITHIN_S = 5.0  # the store answers if it did so this long ago, or less


class StoreWatch:
    """Knows what the store answered last, from `start` to `stop`. Reads over a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: Store | None = None
        self._answered_at = -ANSWERS_WITHIN_S
        self.revision: int | None = None
        """The newest that was seen; what was seen before the store went away stays."""
        self._worker = Worker("store-watch", self._look, "the store does not answer", retry_s=INTERVAL_S)
        self.start = self._worker.start

    @property
    def answers(self) -> bool:
        """True if the store has answered within the last seconds."""
        return time.monotonic() - self._answered_at < ANSWERS_WITHIN_S

    def stop(self) -> None:
        """Look no more."""
        self._worker.stop()
        self._close()

    def _look(self) -> float:
        try:
            self._read(self._opened())
        except Exception:
            self._close()
            raise
        self._answered_at = time.monotonic()
        return INTERVAL_S

    def _read(self, store: Store) -> None:
        self.revision = store.revision

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._settings.data_dir, url=self._settings.database, read_only=True)
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
