"""A code on its way, as the tests of couriers send it."""

from numcheck.delivery.requests import Message
from numcheck.registrations.registration import CodeToSend
from tests.serving import small

CODE = "042917"
BY_SMS = CodeToSend(CODE, ("sms",))


def message_of(number: int = small.ACTIVE, code: str = CODE, *, text: str = "{code}") -> Message:
    return Message(number, code, "sms", "messenger", "m1", text.replace("{code}", code))
