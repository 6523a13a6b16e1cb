"""When a registry file was true: the regulator writes its day into its name, DEF-9xx_2026-08-19.csv, and nowhere else.

The file's own time is no measure: it is that of the download or of the copy, later than what the file says.
"""

import re
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import NamedTuple

from numcheck.plan.model import NumberingPlan
from numcheck.plan.reading import Reading

DAY = re.compile(r"(?<!\d)(20\d\d)([-._]?)(\d\d)\2(\d\d)(?!\d)", re.ASCII)


UNDATED = datetime.min.replace(tzinfo=UTC)


class Dated(NamedTuple):
    """Series of a reading, as a plan, the files they are from, and when that was true; None if nothing says it."""

    data_time: datetime | None
    plan: NumberingPlan
    sources: frozenset[str]


def moment_of_day(day: date) -> datetime:
    """Return the beginning of a day in UTC: what is known of the moment if only the day is."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def try_moment_of_name(name: str) -> datetime | None:
    """Return the day in a file's name; None if there is none, or more than one."""
    days = {_try_day(*map(int, (year, month, day))) for year, _, month, day in DAY.findall(name)}
    return days.pop() if len(days) == 1 else None


def _try_day(year: int, month: int, day: int) -> datetime | None:
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None


def dated(reading: Reading, data_time: datetime | None = None) -> list[Dated]:
    """Return what was read by its moment, which is `data_time` or that in the files' names: undated series first, then
    the oldest. A series of several files is as old as the oldest of them, and undated if one is."""
    series: dict[datetime | None, set[str]] = defaultdict(set)
    for one, sources in reading.sources.items():
        moments = [data_time or try_moment_of_name(source) for source in sources]
        known = [moment for moment in moments if moment is not None]
        series[min(known) if len(known) == len(moments) else None].add(one)
    return [
        Dated(moment, reading.plan.part(some), frozenset().union(*(reading.sources[one] for one in some)))
        for moment, some in sorted(series.items(), key=lambda item: item[0] or UNDATED)
    ]
