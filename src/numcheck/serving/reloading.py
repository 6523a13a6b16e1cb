"""Takes the settings anew in a node that runs: those that are plain values, which are marked in `Settings`."""

from collections.abc import Callable, Sequence

import structlog

from numcheck.config import RELOADED, Settings
from numcheck.errors import BadConfiguration

log = structlog.get_logger()

ReadAgain = Callable[[], Settings]
"""Reads the settings from where this run has them; BadConfiguration if they are no good."""


class Reloading:
    """Gives the settings to whom they are of use, whenever they are read again. Bad ones change nothing."""

    def __init__(self, settings: Settings, read_again: ReadAgain, takers: Sequence[Callable[[Settings], None]]) -> None:
        self._settings, self._read_again, self._takers = settings, read_again, takers

    def reload(self) -> None:
        """Read the settings again and take those that can change; the log says which did, and which need a restart."""
        try:
            found = self._read_again()
        except (BadConfiguration, OSError) as error:
            log.error("the settings are not taken", reason=str(error))
            return
        changed = [name for name in Settings.model_fields if getattr(found, name) != getattr(self._settings, name)]
        taken = {name: getattr(found, name) for name in changed if name in RELOADED}
        self._settings = self._settings.model_copy(update=taken)
        for take in self._takers:
            take(self._settings)
        log.info("the settings were read again", taken=[*taken])
        if left := [name for name in changed if name not in RELOADED]:
            log.warning("settings take a restart to change", settings=left)
