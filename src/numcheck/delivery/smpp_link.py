"""The link to an SMSC: aiosmpplib's ESME, made to forget, to keep silent, and to tell what became of each message.

Invariants: a message whose sender has stopped waiting never leaves; one that left gets at most one answer, and none is
sent twice; the library logs nothing, as its lines would show codes and numbers (R11).
"""

import asyncio
import logging
import random
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import structlog
from aiosmpplib import ESME, DeliverSm, GenericNack, SubmitSm, SubmitSmResp
from aiosmpplib.broker import AbstractBroker
from aiosmpplib.correlator import SimpleCorrelator
from aiosmpplib.hook import AbstractHook
from aiosmpplib.protocol import SmppMessage
from aiosmpplib.retrytimer import AbstractRetryTimer
from aiosmpplib.state import NPI, TON, BindMode, PhoneNumber, SmppCommand, SmppCommandStatus, SmppError
from aiosmpplib.throttle import AbstractThrottleHandler

from numcheck.errors import DeliveryFailed

log = structlog.get_logger()

ENQUIRE_LINK_INTERVAL_S = 30.0
SOCKET_TIMEOUT_S = 10.0
RECONNECT_DELAY_S = 1.0  # before the second attempt; then twice as much each time,
RECONNECT_DELAY_MAX_S = 30.0  # up to this
SESSION_TASKS = {"Receiver", "Sender", "Connection keeper"}  # the library's names
THROTTLED = {SmppCommandStatus.ESME_RTHROTTLED, SmppCommandStatus.ESME_RMSGQFUL}

BIND_ANSWERS = {SmppCommand.BIND_TRANSCEIVER_RESP, SmppCommand.BIND_TRANSMITTER_RESP}

Receive = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Account:
    """Where the SMSC is, as whom to bind to it, and whether messages come back over the link as well."""

    host: str
    port: int
    system_id: str
    password: str
    receives: bool = True


class Backoff(AbstractRetryTimer):
    """Waits longer after each failure, and never as long as another node does. Calls `lost` for each lost link."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost, self._failures = lost, 0

    async def wait(self) -> None:
        """Wait before the next attempt."""
        self._lost()
        self._failures += 1
        await asyncio.sleep(self.next_delay() * random.uniform(0.5, 1))

    def reset(self) -> None:
        """The link is there."""
        self._failures = 0

    def next_delay(self) -> float:
        """The longest that the next wait takes, in seconds."""
        return min(RECONNECT_DELAY_S * 2.0 ** max(self._failures - 1, 0), RECONNECT_DELAY_MAX_S)


class Forgetful(SimpleCorrelator):
    """Keeps what was sent until it is answered, and nothing after; takes no part of a message for the whole.

    The library would keep each message for three days, for receipts that are not asked for; and it puts parts together
    by a number of one byte, whoever sent them: one sender's word would stand in another's message.
    """

    async def put_delivery(self, smsc_message_id: str, submit_sm: SubmitSm) -> None:
        """Keep nothing."""

    async def put_delivery_segmented(self, deliver_sm: DeliverSm) -> None:
        """Keep nothing: a word fits into one message."""


class Unthrottled(AbstractThrottleHandler):
    """Lets every message go: the library's own would let them wait in a line, past their time."""

    async def allow_request(self) -> bool:
        """Always."""
        return True

    async def not_throttled(self) -> None:
        """Nothing to count."""

    async def throttled(self) -> None:
        """Nothing to count: whoever sent the message is told."""

    async def throttle_delay(self) -> float:
        """None."""
        return 0.0


class Outbox(AbstractBroker, AbstractHook):
    """The messages that wait to leave, and those that wait for an answer. Lives in one event loop."""

    def __init__(self, receive: Receive) -> None:
        self.linked = False
        """Whether there is a link, bound, over which messages leave."""
        self._receive = receive
        self._queue: asyncio.Queue[SubmitSm] = asyncio.Queue()
        self._names = map(str, count())
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._sent: dict[int, str] = {}

    async def submit(self, message: SubmitSm, timeout_s: float) -> None:
        """Hand a message over, once; DeliveryFailed if the SMSC does not take it, or does not say so in time."""
        name = message.log_id = next(self._names)
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(message)
        try:
            async with asyncio.timeout(timeout_s):
                await answer
        except TimeoutError:
            raise DeliveryFailed("the SMSC does not answer") from None
        finally:
            del self._answers[name]

    def lost(self) -> None:
        """The link is gone, and with it the answers to what was sent."""
        self.linked = False
        for sequence_num in list(self._sent):
            self._answer(sequence_num, "the link to the SMSC is lost")

    async def enqueue(self, message: SmppMessage) -> None:
        """Not used: `submit` is."""
        raise NotImplementedError

    async def dequeue(self) -> SmppMessage:
        """The next message that somebody waits for."""
        while True:
            message = await self._queue.get()
            if message.log_id in self._answers:
                return message

    async def sending(self, smpp_message: SmppMessage, pdu: bytes, client_id: str) -> None:
        """It leaves now, under its sequence number."""
        if isinstance(smpp_message, SubmitSm) and not isinstance(smpp_message, DeliverSm):
            self._sent[smpp_message.sequence_num] = smpp_message.log_id

    async def send_error(self, smpp_message: SmppMessage, error: Exception, client_id: str) -> None:
        """It could not leave, or was not answered for long."""
        self._answer(smpp_message.sequence_num, "the message cannot be handed to the SMSC")

    async def received(self, smpp_message: SmppMessage | None, pdu: bytes, client_id: str) -> None:
        """An answer, or a message from somebody."""
        _tell_refusal(pdu)
        if isinstance(smpp_message, SubmitSmResp | GenericNack):
            status = smpp_message.command_status
            taken = status is SmppCommandStatus.ESME_ROK and not isinstance(smpp_message, GenericNack)
            reason = "the SMSC is too busy" if status in THROTTLED else "the SMSC refuses the message"
            self._answer(smpp_message.sequence_num, None if taken else f"{reason}: {status.name}")
        elif isinstance(smpp_message, DeliverSm) and not smpp_message.is_receipt():
            text = smpp_message.short_message or smpp_message.message_payload
            await self._receive(_written(smpp_message.source), text)

    def _answer(self, sequence_num: int, problem: str | None) -> None:
        answer = self._answers.get(self._sent.pop(sequence_num, ""))
        if answer is None or answer.done():
            return
        if problem is None:
            answer.set_result(None)
        else:
            answer.set_exception(DeliveryFailed(problem))


class Link(ESME):
    """One ESME, whose sockets are closed."""

    def __init__(self, account: Account, outbox: Outbox) -> None:
        super().__init__(
            account.host,
            account.port,
            account.system_id,
            account.password,
            bind_mode=BindMode.TRANSCEIVER if account.receives else BindMode.TRANSMITTER,
            enquire_link_interval=ENQUIRE_LINK_INTERVAL_S,
            socket_timeout=SOCKET_TIMEOUT_S,
            log_level=logging.CRITICAL,
            log_handler=logging.NullHandler(),
            hook=outbox,
            broker=outbox,
            throttle_handler=Unthrottled(),
            correlator=Forgetful(account.system_id),
            retry_timer=Backoff(outbox.lost),
        )
        self._outbox = outbox
        self._opened: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Connect and bind; what hinders it is said, and raised."""
        self.close()
        try:
            await super().connect()
        except (SmppError, OSError, EOFError, ValueError) as error:
            log.warning("there is no link to the SMSC", problem=type(error).__name__)
            raise
        finally:
            self._opened = self._writer
        self._outbox.linked = True
        log.info("the link to the SMSC is there")

    def close(self) -> None:
        """Close the socket, which the library only drops."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


async def keep_link(account: Account, outbox: Outbox, stopping: asyncio.Event) -> None:
    """Keep a link until `stopping` is set, whatever the SMSC sends; then unbind."""
    backoff = Backoff(outbox.lost)
    while not stopping.is_set():
        link = Link(account, outbox)
        tasks: set[asyncio.Task[Any]] = {running := asyncio.create_task(link.start())}
        tasks.add(asyncio.create_task(stopping.wait()))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await _try_unbind(link)
        outbox.linked = False
        await _end(tasks | {task for task in asyncio.all_tasks() if task.get_name() in SESSION_TASKS})
        link.close()
        if not stopping.is_set():
            # The library does not expect every sequence of bytes: it is begun anew.
            log.warning("the SMSC sent what cannot be read")
            await backoff.wait()


async def _try_unbind(link: Link) -> None:
    try:
        async with asyncio.timeout(SOCKET_TIMEOUT_S):
            await link.stop()
    except (OSError, TimeoutError) as error:
        log.warning("the SMSC was left without a farewell", problem=type(error).__name__)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _tell_refusal(pdu: bytes) -> None:
    """Say why a bind was refused. The library reads no answer without a body, which refusals need not have."""
    command_id, status = struct.unpack_from("!II", pdu, 4)
    if command_id in BIND_ANSWERS and status:
        known = status in SmppCommandStatus._value2member_map_
        log.warning("the SMSC refuses the link", status=SmppCommandStatus(status).name if known else hex(status))


def _written(source: PhoneNumber) -> str:
    """A sender's address as a person would write it."""
    return f"+{source.number.lstrip('+')}" if source.ton is TON.INTERNATIONAL else str(source.number)


def sender(address: str) -> PhoneNumber:
    """A source address by its looks: a number with its plus, a short number, or letters."""
    if address.startswith("+"):
        return PhoneNumber(address[1:], TON.INTERNATIONAL, NPI.ISDN)
    if address.isdecimal():
        return PhoneNumber(address, TON.UNKNOWN, NPI.ISDN)
    return PhoneNumber(address, TON.ALPHANUMERIC, NPI.UNKNOWN)
