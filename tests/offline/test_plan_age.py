"""`numcheck status` warns of a plan that is older than two months."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from numcheck.config import Settings
from numcheck.offline.status import node_status
from tests.serving.small import DATA_TIME, fill


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=fill(tmp_path_factory.mktemp("aged") / "var"))


def told(settings: Settings, now: datetime) -> list[str]:
    return [one for one in node_status(settings, now=now)["warnings"] if "the plan is old" in one]


def test_a_plan_is_warned_of_once_it_is_more_than_sixty_days_old(settings: Settings) -> None:
    assert told(settings, DATA_TIME + timedelta(days=60)) == []
    (warning,) = told(settings, DATA_TIME + timedelta(days=61))
    for series in ("+7 3xx (61 days)", "+7 4xx (61 days)", "+7 9xx (61 days)"):
        assert series in warning


def test_the_page_that_the_warning_names_is_there(settings: Settings) -> None:
    (warning,) = told(settings, DATA_TIME + timedelta(days=100))
    page = Path(__file__).parents[2] / "docs/operations.md"
    assert "docs/operations.md, The plan is old" in warning
    assert "\n## The plan is old\n" in page.read_text(encoding="utf-8")
