"""Makes each service of a node, with what only a process has: the clock, random bytes, the index and the builder."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from numcheck.api.access import CallersIndex, this_caller
from numcheck.api.callers import CallerService
from numcheck.api.check import CheckService
from numcheck.api.identifications import WatchIdentifications
from numcheck.api.numbering import NumberingService
from numcheck.api.pushing import Outside
from numcheck.config import Settings
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex
from numcheck.store import Callers, Store

TOKEN_SIZE = 32  # random bytes: nobody guesses one
OUTSIDE = Outside(now=lambda: datetime.now(UTC), new_token=lambda: secrets.token_urlsafe(TOKEN_SIZE))


def check_service(
    published: PublishedIndex | CallersIndex,
    settings: Settings,
    asked: Callable[[int], None] = lambda _count: None,
    spend: Callable[[bytes], None] = lambda _numbers: None,
) -> CheckService:
    """Return the service that answers from what is published; `asked` is told how many numbers each answer is about,
    and `spend` gets the numbers first."""
    return CheckService(
        published,
        default_region=settings.default_region,
        numbers_per_call_max=settings.numbers_per_call_max,
        asked=asked,
        spend=spend,
    )


def numbering_service(
    store: Store,
    published: PublishedIndex,
    settings: Settings,
    watches: Watches,
    *,
    changed: Sequence[Callable[[], None]],
    identifications: WatchIdentifications | None = None,
) -> NumberingService:
    """Return the service that takes pushes; each of `changed` is called after each commit that raises the revision.

    Without `identifications`, where there are no registrations, it has no WatchIdentifications.
    """

    def tell() -> None:
        for follow in changed:
            follow()

    service = NumberingService(
        store,
        published,
        OUTSIDE,
        changed=tell,
        # Each push holds a thread of the listener while it is open.
        push_count_max=max(settings.api_threads // 4, 1),
        identifications=identifications,
    )
    published.subscribe(lambda _index: watches.notify())  # behind the service's own: what is told, it has noted
    return service


def callers_service(
    callers: Callers,
    key: bytes,
    *,
    changed: Callable[[], None] = lambda: None,
    by: Callable[[], str] = lambda: this_caller().uri,
) -> CallerService:
    """Return the service that says who may call; `changed` is called after each change, which `by` makes."""
    return CallerService(callers, OUTSIDE, token_key=key, changed=changed, by=by)
