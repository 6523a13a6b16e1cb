"""A code on its way, as the tests of couriers send it, and what comes back of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from numcheck.delivery.requests import Message
from numcheck.registrations.registration import CodeToSend
from tests.serving import small


@dataclass
class Reported:
    """Keeps what a courier reports."""

    names: list[tuple[str, str]] = field(default_factory=list)
    receipts: list[tuple[list[str], str]] = field(default_factory=list)

    def named(self, message_id: str, reference: str) -> None:
        self.names.append((message_id, reference))

    def came(self, references: Iterator[str], outcome: str) -> None:
        self.receipts.append((list(references), outcome))


CODE = "042917"
BY_SMS = CodeToSend(CODE, ("sms",))


def message_of(number: int = small.ACTIVE, code: str = CODE, *, text: str = "{code}") -> Message:
    return Message(number, code, "sms", "messenger", "m1", text.replace("{code}", code))
