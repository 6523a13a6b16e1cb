"""How codes are sent, by the settings that were taken last: in which words, and by whom no more."""

from numcheck.config import ServiceSettings, Settings


class Terms:
    """The words of each service's codes, and the share of them that has to come back. Safe to ask from any thread."""

    def __init__(self, settings: Settings) -> None:
        self.take(settings)

    def take(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        own = {name: settings.wording(changes) for name, changes in settings.services.items()}
        self._wordings = own, settings.wording(ServiceSettings())
        self._percent_min = settings.codes_returned_percent_min

    def text(self, service: str, code: str, *, language: str, channel: str) -> str:
        """Return the words of a service with a code in them."""
        own, common = self._wordings
        return own.get(service, common).text(service, code, language=language, channel=channel)

    def percent_min(self) -> int:
        """Return the percent of a courier's codes that have to come back."""
        return self._percent_min
