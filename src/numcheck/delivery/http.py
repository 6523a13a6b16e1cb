"""Codes over an HTTP gateway, which may get each of them twice.

Invariants: all attempts take PATIENCE_S at most, with the pauses between; none begins before the moment for which the
gateway asked (`Retry-After`), or that its caller would not wait for. The status of an answer and that header count; its
body, only where the settings have a pattern for it.
"""

import math
import random
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import structlog

from numcheck.delivery.posting import SERVER_ERROR, SUCCESSES, TOO_MANY_REQUESTS, Poster, Reply, retry_after
from numcheck.delivery.receipts import REFERENCE_LENGTH_MAX
from numcheck.delivery.requests import PLACE_TIMEOUT_S, Message, Request, RequestOf
from numcheck.delivery.settings import ANY_CHANNEL
from numcheck.errors import DeliveryFailed
from numcheck.places import Places

log = structlog.get_logger()

ATTEMPTS_MAX = 2
PATIENCE_S = 10.0
PAUSE_S = 0.5  # before the second attempt, up to, where the gateway asks for none


class Answer(NamedTuple):
    """The outcome of an attempt: its problem (empty: none), whether another may help, the time before that one, and the
    gateway's own name of a message that it took."""

    problem: str = ""
    may_pass: bool = False
    retry_after_s: float = 0.0
    reference: str = ""


class HttpCourier:
    """Posts each code to a gateway. Safe to use from any thread."""

    channels = ANY_CHANNEL

    def __init__(
        self,
        request_of: RequestOf,
        *,
        now: Callable[[], datetime],
        sends_at_once_max: int,
        success: str | None = None,
        patience_s: Callable[[], float] = lambda: math.inf,
        use_proxy: bool = False,
    ) -> None:
        """At most `sends_at_once_max` threads wait for the gateway at once: it may be slow, the node must not be.

        `success` is a regular expression that the body of an answer has to match somewhere; None: any body will do. Its
        group `message_id`, if it has one, is the gateway's own name of the message.
        `patience_s` says how long the caller of a code still waits; `use_proxy`, whether the proxies of the environment
        count.
        """
        self._request_of, self._now, self._patience_s = request_of, now, patience_s
        self._success = None if success is None else re.compile(success)
        self._places = Places(sends_at_once_max)
        self._poster = Poster(use_proxy=use_proxy)

    def close(self) -> None:
        """Close the connections to the gateway. Nobody may be sending."""
        self._poster.close()

    def send(self, message: Message) -> str:
        """Hand the code over, and return the gateway's own name of it; DeliveryFailed if it does not take it."""
        with self._places.taken(message.service, wait_s=PLACE_TIMEOUT_S) as has_place:
            if not has_place:
                raise DeliveryFailed("the gateway is too slow")
            return self._hand_over(message)

    def _hand_over(self, message: Message) -> str:
        until, turn = time.monotonic() + min(PATIENCE_S, self._patience_s()), 1
        while (answer := self._answer(self._request_of(message))).problem:
            pause_s = answer.retry_after_s or random.uniform(0.5, 1) * PAUSE_S
            if not answer.may_pass or turn == ATTEMPTS_MAX or time.monotonic() + pause_s >= until:
                raise DeliveryFailed(answer.problem, answer.retry_after_s)
            log.warning("the HTTP gateway is asked again", problem=answer.problem, pause_s=round(pause_s, 3))
            time.sleep(pause_s)
            turn += 1
        return answer.reference

    def _answer(self, request: Request) -> Answer:
        try:
            reply = self._poster.send(request, reads_body=self._success is not None)
        except DeliveryFailed as failure:
            return Answer(f"the gateway {failure}", may_pass=True)
        if reply.status in SUCCESSES:
            return self._judged(reply)
        if reply.status < SERVER_ERROR and reply.status != TOO_MANY_REQUESTS:
            return Answer(f"the gateway refused the code with status {reply.status}")
        retry_after_s = retry_after(reply, self._now())
        return Answer(f"the gateway failed with status {reply.status}", may_pass=True, retry_after_s=retry_after_s)

    def _judged(self, reply: Reply) -> Answer:
        """Return the outcome of an answer whose status is a success."""
        if self._success is None:
            return Answer()
        found = self._success.search(reply.body.decode(errors="replace"))
        if found is None:
            return Answer("the gateway refused the code: its answer does not match `success`")
        return Answer(reference=(found.groupdict().get("message_id") or "")[:REFERENCE_LENGTH_MAX])
