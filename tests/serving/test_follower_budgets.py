"""A follower's own budgets of new numbers: in files of its own, over restarts, crashes and days."""

from array import array
from pathlib import Path

import pytest

from numcheck.access import Caller, Role
from numcheck.api.access import LoopbackAccess, Shown, call_of, serve_call
from numcheck.config import Settings
from numcheck.errors import TooManyNewNumbers
from numcheck.serving.budgets import Budgets
from numcheck.serving.follower_budgets import ENTRIES_NAME, KEY_NAME, AskedFile, budgets_of
from numcheck.store.budgets import Taking

FIRST = 79_160_000_000
BUDGET = 100
DAY = 20_000
MESSENGER = Caller("numcheck://service/chat", Role.MESSENGER, service="chat")


def budgets_in(data_dir: Path) -> Budgets:
    """The budgets of a follower that starts."""
    settings = Settings(data_dir=data_dir, tls_certificate_file="a", tls_key_file="b", tls_clients="token")
    return budgets_of(settings.model_copy(update={"new_numbers_per_day_max": BUDGET}))


def answers(budgets: Budgets, first: int, count: int = 1) -> bool:
    """Ask about so many numbers in one request."""
    serve_call(call_of(LoopbackAccess(), MESSENGER, Shown(), ""))
    try:
        budgets.spend(array("Q", range(first, first + count)).tobytes())
    except TooManyNewNumbers:
        return False
    return True


def crawl(budgets: Budgets, first: int) -> int:
    """Ask on until a request is refused; how many numbers were answered."""
    count = 0
    while answers(budgets, first + count):
        count += 1
    return count


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path


def test_a_restart_gives_no_second_budget_and_forgets_no_number(data_dir: Path) -> None:
    first = budgets_in(data_dir)
    assert answers(first, FIRST, 60)
    first.stop()
    second = budgets_in(data_dir)
    assert answers(second, FIRST, 60)
    assert crawl(second, FIRST + 1_000) == BUDGET - 60
    second.stop()
    third = budgets_in(data_dir)
    assert answers(third, FIRST, 60)
    assert not answers(third, FIRST + 5_000)


def test_what_was_taken_before_a_crash_counts_as_spent(data_dir: Path) -> None:
    """Nobody learns more than the budget, however often the follower ends."""
    learned = 0
    for crash in range(120):
        budgets = budgets_in(data_dir)
        learned += answers(budgets, FIRST + crash)
    assert 0 < learned <= BUDGET
    assert not answers(budgets_in(data_dir), FIRST + 1_000)


def test_half_a_line_that_a_crash_left_is_dropped_and_the_rest_counts(data_dir: Path) -> None:
    path = data_dir / ENTRIES_NAME
    file = AskedFile(path)
    file.take("chat", DAY, after=0, judge=lambda _rows: Taking(3, 1, b"sealed"))
    taken = file.take("chat", DAY, after=0, judge=lambda _rows: Taking(5, 1, b"sealed"))
    assert [row.taken for row in taken] == [3, 5]
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:-7])
    again = AskedFile(path)
    assert again.rows("chat", DAY, after=0) == taken
    assert path.read_bytes() == whole
    assert [row.entry_id for row in again.take("chat", DAY, after=1, judge=lambda _rows: Taking(7, 1, b""))] == [2, 3]


def test_entries_are_of_one_service_and_day_and_old_days_go(data_dir: Path) -> None:
    file = AskedFile(data_dir / ENTRIES_NAME)
    for day in (DAY, DAY + 1, DAY + 2):
        file.take("chat", day, after=0, judge=lambda _rows: Taking(1, 1, b""))
    assert file.rows("other", DAY + 2, after=0) == []
    assert [len(file.rows("chat", day, after=0)) for day in (DAY, DAY + 1, DAY + 2)] == [0, 1, 1]
    assert file.take("chat", DAY + 2, after=0, judge=lambda _rows: None) == file.rows("chat", DAY + 2, after=0)
    kept = AskedFile(data_dir / ENTRIES_NAME)
    assert [len(kept.rows("chat", day, after=0)) for day in (DAY, DAY + 1, DAY + 2)] == [0, 1, 1]
    assert kept.owned("chat", [b"tag"], [1]) == set()


def test_the_files_are_their_owners_alone_and_tell_no_number(data_dir: Path) -> None:
    budgets = budgets_in(data_dir)
    assert answers(budgets, FIRST, 60)
    budgets.stop()
    for name in (ENTRIES_NAME, KEY_NAME):
        assert (data_dir / name).stat().st_mode & 0o077 == 0
    content = (data_dir / ENTRIES_NAME).read_bytes()
    assert content
    for number in range(FIRST, FIRST + 60):
        assert str(number).encode() not in content
        assert array("Q", [number]).tobytes().hex().encode() not in content


def test_each_follower_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        budgets_in(tmp_path / name).stop()
        keys.append((tmp_path / name / KEY_NAME).read_bytes())
    assert keys[0] != keys[1]
