"""The words of each service's codes, by the settings that were taken last."""

from numcheck.config import ServiceSettings, Settings


class Texts:
    """Gives the texts of messages. Safe to ask from any thread."""

    def __init__(self, settings: Settings) -> None:
        self.take(settings)

    def take(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        own = {name: settings.wording(changes) for name, changes in settings.services.items()}
        self._wordings = own, settings.wording(ServiceSettings())

    def text(self, service: str, code: str, *, language: str, channel: str) -> str:
        """Return the words of a service with a code in them."""
        own, common = self._wordings
        return own.get(service, common).text(service, code, language=language, channel=channel)
