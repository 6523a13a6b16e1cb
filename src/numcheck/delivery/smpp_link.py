"""The link to an SMSC: aiosmpplib's ESME, made to forget, to keep silent, and to tell what became of each message.

Invariants: a message whose sender has stopped waiting never leaves; one that left gets at most one answer, and none is
sent twice; the library logs nothing, as its lines would show codes and numbers (R11); no PDU fails what is in flight,
but for one whose size cannot be, as nobody knows where the next begins.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

import structlog
from aiosmpplib import ESME, DeliverSm, GenericNack, PduHeader, SubmitSm, SubmitSmResp
from aiosmpplib.broker import AbstractBroker
from aiosmpplib.correlator import SimpleCorrelator
from aiosmpplib.hook import AbstractHook
from aiosmpplib.protocol import SmppMessage
from aiosmpplib.retrytimer import AbstractRetryTimer
from aiosmpplib.state import NPI, TON, BindMode, PhoneNumber, SmppCommand, SmppCommandStatus, SmppError
from aiosmpplib.throttle import AbstractThrottleHandler

from numcheck.delivery import smpp_pdu
from numcheck.delivery.receipts import OPEN, Reports, ids_of, plain_id
from numcheck.errors import DeliveryFailed

log = structlog.get_logger()

ENQUIRE_LINK_INTERVAL_S = 30.0
SOCKET_TIMEOUT_S = 10.0
RECONNECT_DELAY_S = 1.0  # before the second attempt; then twice as much each time,
RECONNECT_DELAY_MAX_S = 30.0  # up to this
SESSION_TASKS = {"Receiver", "Sender", "Connection keeper"}  # the library's names
THROTTLED = {SmppCommandStatus.ESME_RTHROTTLED, SmppCommandStatus.ESME_RMSGQFUL}

BIND_ANSWERS = {SmppCommand.BIND_TRANSCEIVER_RESP, SmppCommand.BIND_TRANSMITTER_RESP}
READ_ANSWERS = {SmppCommand.UNBIND_RESP, SmppCommand.ENQUIRE_LINK_RESP, SmppCommand.GENERIC_NACK}
READ_REQUESTS = {SmppCommand.UNBIND, SmppCommand.ENQUIRE_LINK}
UNANSWERED = {SmppCommand.OUTBIND, SmppCommand.ALERT_NOTIFICATION}
"""Requests that have no answer (SMPP 3.4, 4.1.7 and 4.12)."""

Receive = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Account:
    """The SMSC's address, the account to bind with, and whether messages come back over the link as well."""

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
        """Note that the link is there."""
        self._failures = 0

    def next_delay(self) -> float:
        """Return the longest that the next wait takes, in seconds."""
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
        """Allow every request."""
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

    def __init__(self, receive: Receive, reports: Reports) -> None:
        """Tell `reports` the ids under which messages were taken, and the receipts that come."""
        self.linked = False
        """True if there is a bound link, over which messages leave."""
        self._receive, self._reports = receive, reports
        self._queue: asyncio.Queue[SubmitSm] = asyncio.Queue()
        self._names = map(str, count())
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._sent: dict[int, str] = {}
        self._message_ids: dict[str, str] = {}

    async def submit(self, message: SubmitSm, message_id: str, timeout_s: float) -> None:
        """Hand a message over, once; DeliveryFailed if the SMSC does not take it, or does not say so in time."""
        name = message.log_id = next(self._names)
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        self._message_ids[name] = message_id
        self._queue.put_nowait(message)
        try:
            async with asyncio.timeout(timeout_s):
                await answer
        except TimeoutError:
            raise DeliveryFailed("the SMSC does not answer") from None
        finally:
            del self._answers[name], self._message_ids[name]

    def taken(self, sequence_num: int, smsc_id: str) -> None:
        """Note the id under which an SMSC has taken a message: before any receipt for it can come."""
        message_id = self._message_ids.get(self._sent.get(sequence_num, ""))
        if message_id is not None and smsc_id:
            self._reports.named(message_id, plain_id(smsc_id))

    def take_receipt(self, smsc_ids: Iterable[str], outcome: str) -> None:
        """Tell a receipt, for the message that has one of these ids."""
        self._reports.came((name for one in smsc_ids for name in ids_of(one)), outcome)

    def lost(self) -> None:
        """Note that the link is gone, and with it the answers to what was sent."""
        self.linked = False
        for sequence_num in list(self._sent):
            self._answer(sequence_num, "the link to the SMSC is lost")

    async def enqueue(self, message: SmppMessage) -> None:
        """Not used: `submit` is."""
        raise NotImplementedError

    async def dequeue(self) -> SmppMessage:
        """Return the next message that somebody waits for."""
        while True:
            message = await self._queue.get()
            if message.log_id in self._answers:
                return message

    async def sending(self, smpp_message: SmppMessage, pdu: bytes, client_id: str) -> None:
        """Note that a message leaves now, under its sequence number."""
        if isinstance(smpp_message, SubmitSm) and not isinstance(smpp_message, DeliverSm):
            self._sent[smpp_message.sequence_num] = smpp_message.log_id

    async def send_error(self, smpp_message: SmppMessage, error: Exception, client_id: str) -> None:
        """Note that a message could not leave, or was not answered for long."""
        self._answer(smpp_message.sequence_num, "the message cannot be handed to the SMSC")

    async def received(self, smpp_message: SmppMessage | None, pdu: bytes, client_id: str) -> None:
        """Take an answer, or a message from somebody."""
        _tell_refusal(pdu)
        if isinstance(smpp_message, SubmitSmResp | GenericNack):
            status = smpp_message.command_status
            taken = status is SmppCommandStatus.ESME_ROK and not isinstance(smpp_message, GenericNack)
            reason = "the SMSC is too busy" if status in THROTTLED else "the SMSC refuses the message"
            self._answer(smpp_message.sequence_num, None if taken else f"{reason}: {_status_name(pdu)}")
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

    async def _get_pdu(self) -> tuple[bytes, PduHeader]:
        """Return the next PDU that the library reads, in a form that it reads; the others are answered, or passed
        over."""
        assert self._reader is not None
        while True:
            begun = await self._reader.readexactly(smpp_pdu.HEADER.size)
            pdu = begun + await self._reader.readexactly(smpp_pdu.size_of(begun) - len(begun))
            readable = self._readable(pdu)
            if readable is not None:
                return readable, _header(readable)

    def _readable(self, pdu: bytes) -> bytes | None:
        _, command, status, sequence = smpp_pdu.HEADER.unpack_from(pdu)
        if command == SmppCommand.SUBMIT_SM_RESP and status == SmppCommandStatus.ESME_ROK:
            self._outbox.taken(sequence, smpp_pdu.id_of_taken(pdu))
        if command in BIND_ANSWERS or command == SmppCommand.SUBMIT_SM_RESP:
            return smpp_pdu.without_body(pdu)
        if command in READ_ANSWERS or command in READ_REQUESTS:
            return pdu
        if command == SmppCommand.DELIVER_SM:
            return self._readable_message(pdu, sequence)
        if not command & smpp_pdu.IS_RESPONSE and command not in UNANSWERED:
            self._say(smpp_pdu.answer(smpp_pdu.GENERIC_NACK, smpp_pdu.ESME_RINVCMDID, sequence))
        return None

    def _readable_message(self, pdu: bytes, sequence: int) -> bytes | None:
        """Return the message; None if it is a receipt, which is only acknowledged, or cannot be read, which is
        refused."""
        status = SmppCommandStatus.ESME_ROK
        try:
            found = smpp_pdu.Delivered.of(pdu)
            message = smpp_pdu.with_coding(pdu, found.coding_at)
            if found.is_receipt:
                self._outbox.take_receipt(found.smsc_ids(pdu), found.outcome(pdu) or OPEN)
            elif not found.is_special:
                DeliverSm.from_pdu(message, _header(message), self.default_encoding)
                return message
        except Exception as error:  # whatever the library makes of what it does not expect
            log.warning("the SMSC sent a message that cannot be read", problem=type(error).__name__)
            status = SmppCommandStatus.ESME_RX_R_APPN
        self._say(smpp_pdu.answer(SmppCommand.DELIVER_SM_RESP, status, sequence, b"\0"))
        return None

    def _say(self, pdu: bytes) -> None:
        assert self._writer is not None
        self._writer.write(pdu)

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


def _header(pdu: bytes) -> PduHeader:
    """Return the PDU's header as the library has it, which knows no status of the vendors' own (SMPP 3.4, 5.1.3)."""
    size, command, status, sequence = smpp_pdu.HEADER.unpack_from(pdu)
    known = status if status in SmppCommandStatus._value2member_map_ else SmppCommandStatus.ESME_RUNKNOWNERR
    return PduHeader(size, SmppCommand(command), SmppCommandStatus(known), sequence)


def _status_name(pdu: bytes) -> str:
    _, _, status, _ = smpp_pdu.HEADER.unpack_from(pdu)
    return SmppCommandStatus(status).name if status in SmppCommandStatus._value2member_map_ else hex(status)


def _tell_refusal(pdu: bytes) -> None:
    """Say why a bind was refused."""
    _, command, status, _ = smpp_pdu.HEADER.unpack_from(pdu)
    if command in BIND_ANSWERS and status:
        log.warning("the SMSC refuses the link", status=_status_name(pdu))


def _written(source: PhoneNumber) -> str:
    """Return a sender's address as a person would write it."""
    return f"+{source.number.lstrip('+')}" if source.ton is TON.INTERNATIONAL else str(source.number)


def sender(address: str) -> PhoneNumber:
    """Return a source address by its looks: a number with its plus, a short number, or letters."""
    if address.startswith("+"):
        return PhoneNumber(address[1:], TON.INTERNATIONAL, NPI.ISDN)
    if address.isdecimal():
        return PhoneNumber(address, TON.UNKNOWN, NPI.ISDN)
    return PhoneNumber(address, TON.ALPHANUMERIC, NPI.UNKNOWN)
