"""What others wrote is shown, and never acted on: names, regions and user ids cannot forge a row or a colour."""

import json

import pytest

from numcheck.cli import console

HOSTILE = "ПАО \x1b[31m\x9b2J\u202eevil\u2066\r\n+79990000000  ACTIVE\x85x\u2028y\tz"
SHOWN = r"ПАО \u001b[31m\u009b2J\u202eevil\u2066\u000d\u000a+79990000000  ACTIVE\u0085x\u2028y\u0009z"


@pytest.fixture
def shown(capsys, monkeypatch):
    """Whatever the block prints, in one text."""
    monkeypatch.setattr(console, "out", console.to_the_letter(width=console.PLAIN_WIDTH))
    monkeypatch.setattr(console, "err", console.to_the_letter(stderr=True))
    return lambda: "".join(capsys.readouterr())


def test_hostile_cell_stays_in_its_row(shown):
    console.print_table("", ["operator", HOSTILE], [[HOSTILE, "next"], ["other", "row"]])
    heading, first, second = shown().splitlines()
    assert SHOWN in heading
    assert first.split("  ")[0] == SHOWN.split("  ", maxsplit=1)[0]
    assert SHOWN in first
    assert second.split() == ["other", "row"]


def test_hostile_line_is_one_line(shown):
    console.out.print(f"operator {HOSTILE}")
    console.say(f"operator {HOSTILE}")
    assert shown() == f"operator {SHOWN}\n" * 2


def test_json_has_the_value_and_nothing_that_a_terminal_acts_on(shown):
    console.print_json([{"user_id": HOSTILE}])
    text = shown()
    assert json.loads(text) == [{"user_id": HOSTILE}]
    assert SHOWN.partition(r"\u000d")[0] in text
    assert text.count("\n") == len(text.splitlines()) == 5


def test_titled_table_stands_behind_an_empty_line(shown):
    console.print_table("title", ["a"], [["b"]])
    assert [line.strip() for line in shown().splitlines()] == ["", "title", "a", "b"]
