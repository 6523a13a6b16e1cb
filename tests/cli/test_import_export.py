"""`numcheck registrations import`, `export`, `summary`, `get` and `delete`, against a real node."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import small
from tests.serving.command import Node, Result, run, serving

USERS = f"""\
user_id;number;address;registration_data.name;registered_at;possession_proved_at
u1;8 (916) 123-45-67;203.0.113.7;Иванов;2026-05-01;2026-05-01T10:00:00+03:00
u2;+{small.INACTIVE};203.0.113.7;Петров;2026-05-01;
u3;+{small.ACTIVE};203.0.113.7;Сидоров;20x6-05-01;
u4;+{small.NOT_MOBILE};203.0.113.7;Кузнецов;2026-05-01;
=u5;+{small.UNKNOWN};2001:db8::7;"Соколов; ""Артём"" А.";2026-05-01;
"""


@pytest.fixture(scope="module")
def own_node(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("imports") / "var")
    with serving(data_dir, env={"NUMCHECK_EVIDENCE_AGE_MAX_S": "0"}) as one:
        yield one


@pytest.fixture
def ask(own_node: Node):
    def asked(command: str, service: str, *arguments: object) -> Result:
        return run("registrations", command, "--service", service, "--server", own_node.address, *arguments)

    return asked


def test_a_file_is_imported_its_refused_rows_are_listed_and_what_was_exported_comes_back(ask, tmp_path: Path) -> None:
    """Every row is in, or in the report by its line; the same file again changes nothing; an export is an import."""
    users, refused, exported = tmp_path / "users.csv", tmp_path / "refused.csv", tmp_path / "out.csv.gz"
    users.write_text(USERS, encoding="utf-8")
    done = ask("import", "first", users, "--refused", refused, "--json")
    assert done.status == 1
    counts = {"rows": 5, "made": 3, "already": 0, "refused": 2}
    assert json.loads(done.out) == counts
    with refused.open(encoding="utf-8") as file:
        assert [*csv.reader(file)] == [
            ["line", "reason", "field"],
            ["4", "BAD_ROW", "registered_at"],
            ["5", "NUMBER_NOT_MOBILE", "number"],
        ]
    again = ask("import", "first", users, "--json")
    assert json.loads(again.out) == counts
    assert "line 5: NUMBER_NOT_MOBILE number" in again.err
    summary = json.loads(ask("summary", "first", "--json").out)
    assert summary == {"pending": 1, "verified": 1, "rejected": 1, "overdue": 0, "revoked": 0, "due_soon": 0}
    assert ask("export", "first", exported).status == 0
    back = ask("import", "second", exported, "--json")
    assert (back.status, json.loads(back.out)["made"]) == (0, 3)
    own = ("service", "registration_id", "due_at", "evidence")
    first, second = (
        [{name: value for name, value in json.loads(line).items() if name not in own} for line in one.splitlines()]
        for one in (ask("export", "first").out, ask("export", "second").out)
    )
    assert sorted(map(json.dumps, first)) == sorted(map(json.dumps, second))


def test_a_corrected_file_brings_in_what_was_refused_and_passes_over_the_rest(ask, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    users.write_text(USERS, encoding="utf-8")
    ask("import", "corrected", users)
    users.write_text(USERS.replace("20x6", "2026").replace(str(small.NOT_MOBILE), str(small.ACTIVE)), encoding="utf-8")
    done = ask("import", "corrected", users, "--json")
    assert (done.status, json.loads(done.out)) == (0, {"rows": 5, "made": 2, "already": 3, "refused": 0})


def test_one_user_is_shown_and_erased(ask, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    users.write_text(USERS, encoding="utf-8")
    ask("import", "one", users)
    shown = json.loads(ask("get", "one", "u1", "--json").out)
    assert (shown["number"], shown["state"]) == (small.ACTIVE, "VERIFIED")
    assert f"number             {small.ACTIVE}" in ask("get", "one", "u1").out
    assert ask("delete", "one", "u1").status == 0
    assert ask("get", "one", "u1").status == 1
    assert ask("import", "one", users, "--import-id", "again", "--json").out.count('"made": 1') == 1


def test_a_file_that_cannot_be_read_and_a_node_that_is_not_there_are_said_in_one_line(ask, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    users.write_text("user_id,colour\n", encoding="utf-8")
    done = ask("import", "none", users)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "no such column: colour" in done.err
