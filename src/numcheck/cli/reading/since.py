"""Moments since which numbers are asked about: one for a file, or one in each line."""

from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import NamedTuple

from numcheck.cli.reading.layout import place_of
from numcheck.moments import read_moment

FORMS = ("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S")  # as Russian programs write them
MOMENTS_KEPT = 100_000  # a file has many lines of one day


class Since(NamedTuple):
    """The option's value: a moment in seconds since 1970, or a column by its name or position."""

    moment: int | None
    column: str

    def place(self, names: list[str]) -> int | None:
        """Return the column of the moments; None if there is one moment for all."""
        return place_of(names, self.column, "--recycled-since")[0] if self.moment is None else None


def since_of(said: str) -> Since:
    """Return what a text says: what reads as a moment is one, and else it is a column."""
    return Since(try_moment(said), said)


@lru_cache(MOMENTS_KEPT)
def try_moment(text: str) -> int | None:
    """Return the second since 1970 of a date or a moment: ISO 8601, or days first with dots. None if it is neither.

    Without an offset it is in UTC, and a date is its beginning. Digits alone are none: nobody could tell a date from a
    column or a number.
    """
    text = text.strip()
    if text.isdecimal():
        return None
    for found in map(partial(_try_read, text), (None, *FORMS)):
        if found is not None:
            return int(found.timestamp())
    return None


def _try_read(text: str, form: str | None) -> datetime | None:
    """Read a text in a form; None: in ISO 8601."""
    try:
        return read_moment(text) if form is None else datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
