"""Makes the couriers that the settings name; BadConfiguration if one cannot be."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from numcheck.api.calls import patience_s
from numcheck.config import Settings
from numcheck.delivery.callbacks import Callback
from numcheck.delivery.console import ConsoleCourier
from numcheck.delivery.http import HttpCourier
from numcheck.delivery.requests import RequestOf, signed_requests, templated_requests
from numcheck.delivery.settings import ANY_CHANNEL, CallbackSettings, CourierSettings
from numcheck.errors import BadConfiguration
from numcheck.hosts import is_loopback
from numcheck.registrations.codes import CODE_LIFETIME
from numcheck.serving.dispatch import Courier, Dispatcher, Route, Tally
from numcheck.serving.ledger import UNKNOWN_OPERATOR, Ledger
from numcheck.serving.receipts_listener import Desk
from numcheck.serving.secret_files import check_names, read_secret, read_signing_key
from numcheck.serving.terms import Terms

if TYPE_CHECKING:
    from numcheck.delivery.smpp import SmppCourier

SMPP_PORT = 2_775
# Without their final NUL, as SMPP 3.4 has them (4.1.1 and 5.2.8). An alphanumeric sender: 3GPP TS 23.040, 9.1.2.5.
SYSTEM_ID_SIZE_MAX = 15
PASSWORD_SIZE_MAX = 8
SENDER_DIGITS_MAX = 15
SENDER_LETTERS_MAX = 11

SINGLE = {
    "url": "code_delivery",
    "secret_file": "code_delivery_secret_file",
    "system_id": "smpp_system_id",
    "password_file": "smpp_password_file",
    "source_address": "smpp_source_address",
    "receive": "smpp_receive",
}
"""Settings of the one courier where there is no `[[couriers]]`, by the names that they have there."""

Announce = Callable[[str], None]
Take = Callable[[str, str], None]
"""Takes a message: its sender, and its text."""
Make = Callable[[], Courier]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The couriers of a node, as one and by name; without one, nothing is sent."""

    courier: Dispatcher | None = None
    couriers: Sequence[Courier] = ()
    smscs: "Mapping[str, SmppCourier]" = field(default_factory=dict)
    desks: Mapping[str, Desk] = field(default_factory=dict)
    """The couriers that report receipts over HTTP."""
    ledger: Ledger = field(default_factory=lambda: Ledger(time.monotonic))

    def receive(self, take: Take) -> None:
        """From now on, hand over each message that an SMSC brings."""
        for smsc in self.smscs.values():
            smsc.receive(take)

    def close(self) -> None:
        """End every connection. Nobody may be sending."""
        for courier in self.couriers:
            courier.close()

    @property
    def counts(self) -> Mapping[Tally, int]:
        """Count of codes by courier, channel and outcome."""
        return {} if self.courier is None else self.courier.counts

    @property
    def rests(self) -> Mapping[tuple[str, str], bool]:
        """The couriers by name and operator: True if one is passed over."""
        return {} if self.courier is None else self.courier.rests

    @property
    def linked(self) -> Mapping[str, bool]:
        """The SMSCs by name: True if there is a link, without which no code leaves."""
        return {name: smsc.linked for name, smsc in self.smscs.items()}


def _utc_now() -> datetime:
    return datetime.now(UTC)


def delivery_of(
    settings: Settings,
    announce: Announce,
    terms: Terms | None = None,
    *,
    operator_of: Callable[[int], str] = lambda _number: UNKNOWN_OPERATOR,
    now: Callable[[], datetime] = _utc_now,
) -> Delivery:
    """Return the couriers of a node, and begin to keep their links. Without `terms` those of the settings hold;
    `operator_of` says which operator serves a number."""
    terms, ledger = terms or Terms(settings), Ledger(time.monotonic)
    maker = _Maker(settings, announce, now, ledger)
    prepared = [(one, maker.prepare(one)) for one in wanted_couriers(settings)]  # all of them, before one is made
    made = [(one, make()) for one, make in prepared]
    if not made:
        return Delivery()
    routes = [
        Route(one.name, courier, frozenset(one.channels or courier.channels), time.monotonic, terms.percent_min)
        for one, courier in made
    ]
    smscs = {one.name: courier for one, courier in made if one.scheme == "smpp"}
    couriers = [courier for _, courier in made]
    dispatcher = Dispatcher(routes, terms, ledger, operator_of=operator_of, patience_s=patience_s)
    desks = {one.name: maker.desk(one, one.callback) for one, _ in made if one.callback is not None}
    return Delivery(dispatcher, couriers, cast("dict[str, SmppCourier]", smscs), desks, ledger)


def check_delivery(settings: Settings) -> None:
    """Raise BadConfiguration if codes cannot be sent by these settings; nothing is connected to."""
    maker = _Maker(settings, lambda _line: None, _utc_now, Ledger(time.monotonic))
    for one in wanted_couriers(settings):
        maker.prepare(one)


def wanted_couriers(settings: Settings) -> list[CourierSettings]:
    """Return the settings of each courier, in order."""
    if (settings.receipts_listen is None) == any(one.callback for one in settings.couriers):
        raise BadConfiguration("receipts_listen: goes together with the callback of a courier")
    if not settings.couriers:
        fields = {name: getattr(settings, single) for name, single in SINGLE.items()}
        return [] if settings.code_delivery == "none" else [CourierSettings(name="default", **fields)]
    if settings.code_delivery != "none":
        raise BadConfiguration("code_delivery: names a courier besides those of [[couriers]]; leave one of both out")
    check_names("couriers", settings.couriers)
    return list(settings.couriers)


class _Maker:
    """Makes couriers: `prepare` looks whether one can be made, and what that gives makes it."""

    def __init__(self, settings: Settings, announce: Announce, now: Callable[[], datetime], ledger: Ledger) -> None:
        self._settings, self._announce, self._now, self._ledger = settings, announce, now, ledger
        # A quarter of the threads at most waits for gateways and SMSCs.
        self._sends_at_once_max = max(settings.api_threads // 4, 1)

    def prepare(self, one: CourierSettings) -> Make:
        """Return a function that makes the courier; BadConfiguration if it cannot be."""
        kind: type[Courier]
        make: Make
        match one.scheme:
            case "console":
                kind, make = ConsoleCourier, self._on_console
            case "http" | "https":
                kind, make = HttpCourier, self._by_http(one)
            case "smpp":
                kind, make = self._by_smpp(one)
            case "smpps":
                raise self._bad(one, "url", "SMPP over TLS needs a proxy, such as stunnel; smpp:// goes there")
            case _:
                raise self._bad(one, "url", "must be none, console, the URL of an HTTP gateway, or smpp://host:port")
        if one.callback is not None:
            if kind is not HttpCourier:
                raise self._bad(one, "callback", "only an HTTP gateway reports so")
            self.desk(one, one.callback)
        if kind.channels is not ANY_CHANNEL and not set(one.channels or ()) <= kind.channels:
            raise self._bad(one, "channels", f"this courier has only {', '.join(sorted(kind.channels))}")
        return make

    def _on_console(self) -> ConsoleCourier:
        self._announce("codes are shown here, and sent to nobody: for trying out only")
        return ConsoleCourier(self._announce)

    def _bad(self, one: CourierSettings, name: str, problem: str) -> BadConfiguration:
        return BadConfiguration(f"{self._named(one, name)}: {problem}")

    def _named(self, one: CourierSettings, name: str) -> str:
        """Return a courier's setting as the file of settings names it."""
        return f"couriers.{one.name}.{name}" if self._settings.couriers else SINGLE.get(name, name)

    # --- HTTP

    def desk(self, one: CourierSettings, callback: CallbackSettings) -> Desk:
        """Return what takes a gateway's reports."""
        key = read_signing_key(callback.secret_file, self._named(one, "callback.secret_file"))
        return Desk(Callback(callback, key, self._now), self._ledger.reports_of(one.name))

    def _by_http(self, one: CourierSettings) -> Make:
        return partial(
            HttpCourier,
            self._requests(one),
            now=self._now,
            success=one.success,
            sends_at_once_max=self._sends_at_once_max,
            patience_s=patience_s,
            use_proxy=self._settings.use_proxy and not is_loopback(urlsplit(one.url).hostname or ""),
        )

    def _requests(self, one: CourierSettings) -> RequestOf:
        if one.is_templated:
            secret = b"" if one.secret_file is None else read_secret(one.secret_file, self._named(one, "secret_file"))
            return templated_requests(one, secret.decode(errors="replace"))
        if one.secret_file is None:
            raise self._bad(one, "secret_file", "an HTTP gateway needs the key that signs what it gets")
        key = read_signing_key(one.secret_file, self._named(one, "secret_file"))
        return signed_requests(one.url, key, self._now)

    # --- SMPP

    def _by_smpp(self, one: CourierSettings) -> "tuple[type[SmppCourier], Make]":
        try:
            # An extra: the node runs without it.
            from numcheck.delivery.smpp import SmppCourier  # noqa: PLC0415
            from numcheck.delivery.smpp_link import Account  # noqa: PLC0415
        except ModuleNotFoundError:
            raise self._bad(one, "url", "SMPP needs the extra smpp: pip install 'numcheck[smpp]'") from None
        host, port = self._address(one)
        return SmppCourier, partial(
            SmppCourier,
            Account(host, port, self._system_id(one), self._password(one), receives=one.receive),
            source=self._sender(one),
            reports=self._ledger.reports_of(one.name),
            lifetime=CODE_LIFETIME,
            sends_at_once_max=self._sends_at_once_max,
            receipts=one.receipts and one.receive,
        )

    def _address(self, one: CourierSettings) -> tuple[str, int]:
        try:
            parts = urlsplit(one.url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.username is not None or parts.path.strip("/") or parts.query:
            raise self._bad(one, "url", "must be smpp://host:port, and nothing besides")
        return host, port or SMPP_PORT

    def _system_id(self, one: CourierSettings) -> str:
        name = one.system_id
        if not (0 < len(name) <= SYSTEM_ID_SIZE_MAX and name.isascii() and name.isprintable()):
            raise self._bad(one, "system_id", f"must have 1 to {SYSTEM_ID_SIZE_MAX} ASCII characters")
        return name

    def _password(self, one: CourierSettings) -> str:
        if one.password_file is None:
            raise self._bad(one, "password_file", "an SMSC asks for a password")
        password = read_secret(one.password_file, self._named(one, "password_file"))
        if len(password) > PASSWORD_SIZE_MAX or not password.isascii():
            raise self._bad(one, "password_file", f"has more than {PASSWORD_SIZE_MAX} ASCII characters")
        return password.decode()

    def _sender(self, one: CourierSettings) -> str:
        address = one.source_address
        digits = address.removeprefix("+")
        as_number = digits.isascii() and digits.isdecimal() and len(digits) <= SENDER_DIGITS_MAX
        as_letters = 0 < len(address) <= SENDER_LETTERS_MAX and address.isascii() and address.replace(" ", "").isalnum()
        if not (as_number or as_letters):
            raise self._bad(one, "source_address", "must be +79161234567, a short number, or up to 11 letters")
        return address
