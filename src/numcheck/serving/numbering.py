"""Gives NumberingService what only a process has: the clock, random bytes and the builder."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from numcheck.config import Settings
from numcheck.rpc.numbering import NumberingService
from numcheck.store import Store

TOKEN_SIZE = 16  # random bytes: nobody guesses one


def numbering_service(store: Store, settings: Settings, *, changed: Callable[[], None]) -> NumberingService:
    """The service of a node; `changed` is called after each commit that raises the revision."""
    return NumberingService(
        store,
        now=lambda: datetime.now(UTC),
        new_token=lambda: secrets.token_urlsafe(TOKEN_SIZE),
        changed=changed,
        # Each push holds a thread of the listener while it is open.
        push_count_max=max(settings.threads // 4, 1),
    )
