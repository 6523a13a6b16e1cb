"""Moments as people and programs write them: converted by their offset, or refused, and never read as another."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from numcheck.moments import read_moment

NIGHT = datetime(2026, 11, 21, tzinfo=UTC)
DAY_BEFORE = NIGHT - timedelta(hours=3)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-21T03:00:00+03:00", "2026-11-21T03:00:00+0300", "2026-11-21T03+03", "2026-11-21T03:00+03:00:00"),
        *("2026-11-21 03:00:00+03", "2026-11-21 03:00:00 +0300", "2026-11-21  03:00  +03:00", " 2026-11-21T00:00Z "),
        *("2026-11-21T00:00:00z", "2026-11-21t00:00:00z", "2026-11-20T20:30-03:30", "20261121T030000+0300", "20261121"),
        *("20261121T0300+03", "2026-W47-6T03:00+03:00", "2026-W47-6", "2026W476", "2026-11-21", "2026-11-21Z"),
        *("2026-11-21T00:00:00,000Z", "2026-11-21T00:00:00.000000999", "2026-11-21T00:00:00-00:00"),
    ],
)
def test_moment_is_converted_by_its_offset_when_it_has_one(text: str) -> None:
    assert read_moment(text) == NIGHT
    assert read_moment(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text", ["2026-11-21+03:00", "2026-11-21+0300", "2026-11-21+03", "20261121+0300", "2026-W47-6+03:00"]
)
def test_offset_of_a_date_is_none_of_its_hours(text: str) -> None:
    assert read_moment(text) == DAY_BEFORE


def test_moment_without_an_offset_is_of_the_zone_that_is_said() -> None:
    moscow = timezone(timedelta(hours=3))
    for text in ("2026-11-21", "2026-11-21T00:00"):
        assert read_moment(text, moscow) == DAY_BEFORE
    assert read_moment("2026-11-21Z", moscow) == NIGHT


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-21-03:00", "2026-11-21-03", "20261121-0300"),  # an offset, or the hour behind a dash
        *("2026-11-21_03:00", "2026-11-21x03:00", "2026-11-21103:00", "2026-11-2103:00", "2026-11-21T"),
        *("2026-11-21T03.5", "2026-11-21T03:30.5", "2026-11-21T0330,5"),  # of an hour, and of a minute
        *("2026-11-21T24:00:00", "2016-12-31T23:59:60Z", "2026-11-21T3:00", "2026-11-21T03:0", "2026-11-21T03:00:00."),
        *("2026-11-21T03:00+3", "2026-11-21T03:00+030", "2026-11-21T03:00+03:60", "2026-11-21T03:00+24:00"),
        *("2026-11-21T03:00\u221203:00", "2026-11-21T03:00 MSK", "2026-11-21T03:00+03:00[Europe/Moscow]"),
        *("2026-W47", "2026-325", "2026-11", "2026-2-5", "2026-02-29", "26-11-21", "2026/11/21", "21.11.2026"),
        *("1795230000", "1795230000000", "1795230000.5", "46347", "20261121030000", "Sat, 21 Nov 2026 03:00:00 +0300"),
        *("0001-01-01T00:00:00+03:00", "9999-12-31T23:59:59-03:00", "10000-01-01", "-2026-11-21", "+2026-11-21"),
        *("٢٠٢٦-١١-٢١", "２０２６-１１-２１", "\ufeff2026-11-21", "'2026-11-21", "", "now", "T03:00"),
    ],
)
def test_text_is_refused_when_it_may_be_another_moment_or_none(text: str) -> None:
    with pytest.raises(ValueError, match="no moment of ISO 8601"):
        read_moment(text)
