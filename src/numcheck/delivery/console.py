"""For trying out: codes are shown to whoever runs the node."""

from collections.abc import Callable

from numcheck.delivery.requests import Message
from numcheck.delivery.settings import ANY_CHANNEL


class ConsoleCourier:
    """Tells each code to the person who runs the node."""

    channels = ANY_CHANNEL

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def send(self, message: Message) -> str:
        """Show the code, with the number's last digits only."""
        number, code, channel, service, *_ = message
        self._say(f"code for the number that ends in {number % 10_000:04}, by {channel}, from {service}: {code}")
        return ""
