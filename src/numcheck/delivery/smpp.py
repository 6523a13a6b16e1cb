"""Codes over SMPP 3.4, as short messages; and the messages that come back. Needs aiosmpplib, the extra `smpp`.

Invariants: a code is submitted once. An SMSC that did not answer in time may have taken it, so it is never
submitted again, and counts as sent (R10). It is valid for no longer than the code in it.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import timedelta

import structlog
from aiosmpplib import SubmitSm
from aiosmpplib.state import NPI, TON, PhoneNumber

from numcheck.delivery.receipts import Reports
from numcheck.delivery.requests import PLACE_TIMEOUT_S, Message
from numcheck.delivery.smpp_link import SOCKET_TIMEOUT_S, Account, Outbox, keep_link, sender
from numcheck.delivery.texts import PLAIN
from numcheck.errors import DeliveryFailed
from numcheck.places import Places

log = structlog.get_logger()

ANSWER_TIMEOUT_S = 5.0
UNDERWAY_MAX = timedelta(seconds=PLACE_TIMEOUT_S + ANSWER_TIMEOUT_S)
STOP_TIMEOUT_S = SOCKET_TIMEOUT_S + 5.0

Receive = Callable[[str, str], None]


class SmppCourier:
    """Submits each code to an SMSC, over one link that it keeps. Safe to use from any thread."""

    channels = frozenset({"sms"})

    def __init__(
        self,
        account: Account,
        *,
        source: str,
        lifetime: timedelta,
        sends_at_once_max: int,
        reports: Reports,
        receipts: bool = True,
    ) -> None:
        """At most `sends_at_once_max` threads wait for the SMSC at once. With `receipts` the SMSC is asked for one of
        every message; `reports` is told what they say."""
        self._account, self._source, self._reports, self._receipts = account, source, reports, receipts
        self._validity = lifetime - UNDERWAY_MAX
        self._places = Places(sends_at_once_max)
        self._receive: Receive = lambda _source, _text: None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="smpp", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def linked(self) -> bool:
        """True if the link is there now; one that breaks unnoticed is found out within 40 s."""
        return self._outbox.linked

    def receive(self, receive: Receive) -> None:
        """From now on, hand over each message that comes, with its sender, in a thread of its own."""
        self._receive = receive

    def close(self) -> None:
        """Unbind, and end the link."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_TIMEOUT_S)

    def send(self, message: Message) -> str:
        """Submit the code; DeliveryFailed if the SMSC does not say that it has taken it."""
        with self._places.taken(message.service, wait_s=PLACE_TIMEOUT_S) as has_place:
            if not has_place:
                raise DeliveryFailed("the SMSC is too slow")
            try:
                submitted = asyncio.run_coroutine_threadsafe(self._submit(message), self._loop)
                # The loop keeps the time; a second more, lest a loop that has ended be waited for.
                submitted.result(ANSWER_TIMEOUT_S + 1)
            except (FutureTimeoutError, RuntimeError):
                raise DeliveryFailed("there is no link to the SMSC") from None
        return ""  # its id was told as it came: a receipt may come at once

    async def _submit(self, message: Message) -> None:
        submitted = SubmitSm(
            short_message=message.text,
            source=sender(self._source),
            destination=PhoneNumber(str(message.number), TON.INTERNATIONAL, NPI.ISDN),
            validity_period=self._validity,
            registered_delivery=int(self._receipts),
            encoding=None if set(message.text) <= PLAIN else "ucs2",
        )
        await self._outbox.submit(submitted, message.message_id, ANSWER_TIMEOUT_S)

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        # A problem that the library left behind is named by its kind alone.
        self._loop.set_exception_handler(
            lambda _loop, context: log.warning("SMPP", problem=type(context.get("exception")).__name__)
        )
        self._outbox = Outbox(self._received, self._reports)
        self._ready.set()
        await keep_link(self._account, self._outbox, self._stopping)

    async def _received(self, source: str, text: str) -> None:
        """Hand a message over; it is acknowledged to the SMSC afterwards."""
        try:
            await asyncio.to_thread(self._receive, source, text)
        except Exception as error:
            log.error("a message that came was lost", problem=type(error).__name__)
