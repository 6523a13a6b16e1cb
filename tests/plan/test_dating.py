"""A registry file is of the day in its name."""

from datetime import UTC, datetime

import pytest

from numcheck.plan import dated, read_registry
from tests.store.registry import content, row

AUGUST = datetime(2026, 8, 19, tzinfo=UTC)
APRIL = datetime(2026, 4, 20, tzinfo=UTC)


def moments(*named: tuple[str, str], data_time: datetime | None = None) -> list[tuple[datetime | None, set[str]]]:
    """The series of files, each a name and a row, by their moment."""
    reading = read_registry([(name, content(line)) for name, line in named])
    return [(one.data_time, set(one.plan.series)) for one in dated(reading, data_time)]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("DEF-9xx_2026-08-19.csv", AUGUST),
        ("DEF-9x_2026-08-19_codes-900-955-999.csv.xz", AUGUST),
        ("DEF-9xx.20260819.csv", AUGUST),
        ("2026.08.19 DEF-9xx.csv", AUGUST),
        ("DEF-9xx.csv", None),
        ("DEF-9xx_2026-02-30.csv", None),
        ("DEF-9xx_2026-08-1999.csv", None),
        ("DEF-9xx_2026-0819.csv", None),
        ("DEF-9xx_19-08-2026.csv", None),
        ("from_2026-04-20_to_2026-08-19.csv", None),
        ("2026-08-19/DEF-9xx_2026-08-19.csv", AUGUST),
        ("DEF-9xx_1787097600.csv", None),
    ],
)
def test_day_is_read_from_the_name_alone(name, day):
    assert moments((name, row(916, 0, 9, "А"))) == [(day, {"9"})]
    assert moments((name, row(916, 0, 9, "А")), data_time=APRIL) == [(APRIL, {"9"})]


def test_series_of_several_files_are_each_of_their_own_day():
    """Undated series come first, then the oldest; one of several files is as old as the oldest of them."""
    files = [
        ("2026-08-19.csv", row(916, 0, 9, "А")),
        ("2026-08-18.csv", row(917, 0, 9, "А")),
        ("2026-04-20.csv", row(301, 0, 9, "А")),
        ("new.csv", row(495, 0, 9, "А")),
    ]
    assert moments(*files) == [(None, {"4"}), (APRIL, {"3"}), (AUGUST.replace(day=18), {"9"})]
    assert moments(files[0], ("new.csv", row(999, 0, 9, "А"))) == [(None, {"9"})]
