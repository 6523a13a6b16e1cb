"""Makes what sends codes, as the settings say; BadConfiguration if it cannot be."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from numcheck.api.calls import patience_s
from numcheck.config import Settings
from numcheck.delivery.console import ConsoleCourier
from numcheck.delivery.http import HttpCourier
from numcheck.errors import BadConfiguration, DeliveryFailed
from numcheck.registrations.codes import CODE_DIGITS, CODE_LIFETIME
from numcheck.registrations.verifier import Courier

log = structlog.get_logger()

GATEWAY_KEY_SIZE_MIN = 24  # bytes, as Standard Webhooks asks
SMPP_PORT = 2_775
# Without their final NUL, as SMPP 3.4 has them (4.1.1 and 5.2.8). An alphanumeric sender: 3GPP TS 23.040, 9.1.2.5.
SYSTEM_ID_SIZE_MAX = 15
PASSWORD_SIZE_MAX = 8
SENDER_DIGITS_MAX = 15
SENDER_LETTERS_MAX = 11

OUTCOMES = ("handed_over", "failed")

Announce = Callable[[str], None]
Take = Callable[[str, str], None]
"""Takes a message: from whom, and its text."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What sends codes, if anything does; and, where messages come back and connections are held, what to do there.

    `linked` says whether the connection without which no code leaves is there; None where there is no such one.
    """

    courier: "WatchedCourier | None" = None
    receive: Callable[[Take], None] = lambda _take: None
    close: Callable[[], None] = lambda: None
    linked: Callable[[], bool | None] = lambda: None


class WatchedCourier:
    """A courier whose failures are logged, without number or code, and whose codes are counted by their outcome."""

    def __init__(self, courier: Courier, name: str) -> None:
        self.channels, self._send, self._name = courier.channels, courier.send, name
        self._lock = threading.Lock()
        self._counts = {(name, channel, outcome): 0 for channel in courier.channels for outcome in OUTCOMES}

    @property
    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """How many codes were handed over, and how many could not be: by courier, channel and outcome."""
        with self._lock:
            return dict(self._counts)

    def send(self, number: int, code: str, *, channel: str, service: str, message_id: str) -> None:
        """Hand the code over; DeliveryFailed if that cannot be done."""
        try:
            self._send(number, code, channel=channel, service=service, message_id=message_id)
        except DeliveryFailed as failure:
            self._count(channel, "failed")
            log.warning("a code was not handed over", problem=str(failure))
            raise
        self._count(channel, "handed_over")

    def _count(self, channel: str, outcome: str) -> None:
        with self._lock:
            self._counts[self._name, channel, outcome] += 1


def _utc_now() -> datetime:
    return datetime.now(UTC)


def delivery_of(settings: Settings, announce: Announce, *, now: Callable[[], datetime] = _utc_now) -> Delivery:
    """Return what sends codes."""
    return _maker_of(settings, now)(announce)


def check_delivery(settings: Settings) -> None:
    """Raise BadConfiguration if codes cannot be sent by these settings; nothing is connected to."""
    _maker_of(settings, _utc_now)


def _maker_of(settings: Settings, now: Callable[[], datetime]) -> Callable[[Announce], Delivery]:
    """Return what begins to send codes, when the settings are known to be good for it."""
    wanted = settings.code_delivery
    if wanted == "none":
        return lambda _announce: Delivery()
    if wanted == "console":
        return _by_console
    if wanted.startswith(("http://", "https://")):
        return _by_http(settings, now)
    if wanted.startswith("smpp://"):
        return _by_smpp(settings)
    if wanted.startswith("smpps://"):
        raise BadConfiguration("code_delivery: SMPP over TLS needs a proxy, such as stunnel; smpp:// goes there")
    raise BadConfiguration("code_delivery: must be none, console, the URL of an HTTP gateway, or smpp://host:port")


def _sends_at_once_max(settings: Settings) -> int:
    """Return how many threads wait for whoever takes codes: a quarter of them."""
    return max(settings.api_threads // 4, 1)


def _by_console(announce: Announce) -> Delivery:
    announce("codes are shown here, and sent to nobody: for trying out only")
    return Delivery(WatchedCourier(ConsoleCourier(announce), "console"))


def _by_http(settings: Settings, now: Callable[[], datetime]) -> Callable[[Announce], Delivery]:
    key = _gateway_key(settings)

    def make(_announce: Announce) -> Delivery:
        courier = HttpCourier(
            settings.code_delivery,
            key,
            now=now,
            sends_at_once_max=_sends_at_once_max(settings),
            patience_s=patience_s,
            use_proxy=settings.use_proxy,
        )
        return Delivery(WatchedCourier(courier, "http"), close=courier.close)

    return make


def _gateway_key(settings: Settings) -> bytes:
    if settings.code_delivery_secret_file is None:
        raise BadConfiguration("code_delivery_secret_file: an HTTP gateway needs the key that signs what it gets")
    key = _read(settings.code_delivery_secret_file, "code_delivery_secret_file")
    if len(key) < GATEWAY_KEY_SIZE_MIN:
        raise BadConfiguration(f"code_delivery_secret_file: has less than {GATEWAY_KEY_SIZE_MIN} bytes")
    return key


def _by_smpp(settings: Settings) -> Callable[[Announce], Delivery]:
    try:
        # An extra: the node runs without it.
        from numcheck.delivery.smpp import SmppCourier, fits  # noqa: PLC0415
        from numcheck.delivery.smpp_link import Account  # noqa: PLC0415
    except ModuleNotFoundError:
        raise BadConfiguration("code_delivery: SMPP needs the extra smpp: pip install 'numcheck[smpp]'") from None
    _check_message(fits(settings.code_message, CODE_DIGITS))
    host, port = _address(settings.code_delivery)
    account = Account(host, port, _system_id(settings), _password(settings), receives=settings.smpp_receive)
    source = _sender(settings)

    def make(_announce: Announce) -> Delivery:
        courier = SmppCourier(
            account,
            source=source,
            message=settings.code_message,
            lifetime=CODE_LIFETIME,
            sends_at_once_max=_sends_at_once_max(settings),
        )
        return Delivery(WatchedCourier(courier, "smpp"), courier.receive, courier.close, lambda: courier.linked)

    return make


def _check_message(fits: bool) -> None:
    if not fits:
        raise BadConfiguration("code_message: must have {code} once, and fit into one short message with it")


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.username is not None or parts.path.strip("/") or parts.query:
        raise BadConfiguration("code_delivery: must be smpp://host:port, and nothing besides")
    return host, port or SMPP_PORT


def _system_id(settings: Settings) -> str:
    name = settings.smpp_system_id
    if not (0 < len(name) <= SYSTEM_ID_SIZE_MAX and name.isascii() and name.isprintable()):
        raise BadConfiguration(f"smpp_system_id: must have 1 to {SYSTEM_ID_SIZE_MAX} ASCII characters")
    return name


def _password(settings: Settings) -> str:
    if settings.smpp_password_file is None:
        raise BadConfiguration("smpp_password_file: an SMSC asks for a password")
    password = _read(settings.smpp_password_file, "smpp_password_file")
    if len(password) > PASSWORD_SIZE_MAX or not password.isascii():
        raise BadConfiguration(f"smpp_password_file: has more than {PASSWORD_SIZE_MAX} ASCII characters")
    return password.decode()


def _sender(settings: Settings) -> str:
    address = settings.smpp_source_address
    digits = address.removeprefix("+")
    as_number = digits.isascii() and digits.isdecimal() and len(digits) <= SENDER_DIGITS_MAX
    as_letters = 0 < len(address) <= SENDER_LETTERS_MAX and address.isascii() and address.replace(" ", "").isalnum()
    if not (as_number or as_letters):
        raise BadConfiguration("smpp_source_address: must be +79161234567, a short number, or up to 11 letters")
    return address


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise BadConfiguration(f"{setting}: cannot be read ({type(error).__name__})") from None
