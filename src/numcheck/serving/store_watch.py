"""Looks at the store again and again, so that who asks how it is never waits for it: it may be away."""

import time
from collections import Counter
from datetime import UTC, datetime

from numcheck.config import Settings
from numcheck.store import Store, Survey, Troubles
from numcheck.worker import Worker

INTERVAL_S = 1.0
ANSWERS_WITHIN_S = 5.0  # the store answers if it did so this long ago, or less
SURVEY_INTERVAL_S = 15.0
SURVEY_SHARE = 20  # of the time at most one part goes into surveys: they read all registrations


class StoreWatch:
    """Knows what the store answered last, from `start` to `stop`. Reads over a connection of its own."""

    def __init__(self, settings: Settings, troubles: Troubles | None) -> None:
        self._settings, self.troubles = settings, troubles
        self._is_shown = settings.metrics_listen is not None or settings.page_listen is not None
        self._store: Store | None = None
        self._answered_at = -ANSWERS_WITHIN_S
        self._survey_due = 0.0
        self.revision: int | None = None
        """The newest that was seen; what was seen before the store went away stays."""
        self.survey: Survey | None = None
        """The last survey."""
        self.event_counts: Counter[str] = Counter()
        """Events by kind, of all nodes, since this one began."""
        self.latency_s: float | None = None
        """How long the last look at the revision took."""
        self._worker = Worker("store-watch", self._look, "the store is not watched", retry_s=INTERVAL_S)
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
        return INTERVAL_S

    def _read(self, store: Store) -> None:
        began = time.monotonic()
        self.revision = store.revision
        self._answered_at = time.monotonic()
        self.latency_s = self._answered_at - began
        if self._is_shown and self._answered_at >= self._survey_due:
            self._take_survey(store)

    def _take_survey(self, store: Store) -> None:
        began = time.monotonic()
        try:
            survey = store.survey(
                now=datetime.now(UTC), events_after=None if self.survey is None else self.survey.event_sequence
            )
            self.event_counts.update(survey.event_counts)
            self.survey = survey
        finally:
            ended = time.monotonic()
            self._survey_due = ended + max(SURVEY_INTERVAL_S, SURVEY_SHARE * (ended - began))
        self._answered_at = ended

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(
                self._settings.data_dir, url=self._settings.database, read_only=True, troubles=self.troubles
            )
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
