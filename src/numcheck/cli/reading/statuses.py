"""Words of operators' billing systems for a number that is in service and for one that is not, Russian and English.

A word that may mean either is in neither table (blocked, suspended: at most operators the subscriber still has the
number): then the person who pushes says which it means.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ACTIVE = frozenset(
    {
        *("1", "true", "yes", "y", "t", "on", "active", "activated", "enabled", "in service", "in use", "open"),
        *("да", "активен", "активный", "активна", "активно", "активирован", "действует", "действующий", "действителен"),
        *("в обслуживании", "обслуживается", "работает", "включен", "вкл", "подключен", "в работе", "истина"),
    }
)
INACTIVE = frozenset(
    {
        *("0", "false", "no", "n", "f", "off", "inactive", "not active", "deactivated", "disabled", "out of service"),
        *("not in service", "closed", "terminated", "disconnected", "removed", "deleted", "expired"),
        *("нет", "неактивен", "неактивный", "неактивна", "неактивно", "не активен", "деактивирован", "не действует"),
        *("недействующий", "недействителен", "не обслуживается", "не работает", "выключен", "выкл", "отключен"),
        *("закрыт", "расторгнут", "договор расторгнут", "удален", "снят", "снят с обслуживания", "ложь"),
    }
)
# Those of both that answer any question: whether a number is in service only where a column's name asks for it.
YES_OR_NO = frozenset(
    {
        *("1", "0", "true", "false", "yes", "no", "y", "n", "t", "f", "on", "off", "да", "нет", "вкл", "выкл"),
        *("enabled", "disabled", "включен", "выключен", "истина", "ложь"),
    }
)


class UnknownStatus(ValueError):
    """A status in no table; the words do not repeat it."""


@dataclass(frozen=True, slots=True)
class Statuses:
    """The words that say that a number is in service, and that it is not."""

    active: frozenset[str] = ACTIVE
    inactive: frozenset[str] = INACTIVE

    def is_active(self, text: str) -> bool:
        """Return True if a row with this status is in service; UnknownStatus if no table has it."""
        status = normal(text)
        if status in self.active:
            return True
        if status in self.inactive:
            return False
        raise UnknownStatus("a status that is not known; --active-values and --inactive-values say what yours mean")

    def without_yes_or_no(self) -> "Statuses":
        """Return the same for a column of the opposite question: there only who says so knows what yes means."""
        return Statuses(
            ACTIVE - YES_OR_NO if self.active is ACTIVE else self.active,
            INACTIVE - YES_OR_NO if self.inactive is INACTIVE else self.inactive,
        )


def normal(text: str) -> str:
    """Return a status as the tables have it."""
    return " ".join(text.casefold().replace("ё", "е").replace("_", " ").split())


def statuses_of(active: str | None, inactive: str | None) -> Statuses:
    """Return the statuses that were said, comma-separated, for those that are known; ValueError if some are both."""
    said = Statuses(
        ACTIVE if active is None else frozenset(_words(active)),
        INACTIVE if inactive is None else frozenset(_words(inactive)),
    )
    if both := said.active & said.inactive:
        raise ValueError(f"both active and inactive: {', '.join(sorted(both))}")
    return said


def _words(text: str) -> Iterable[str]:
    return map(normal, text.split(","))
