"""`numcheck plan`: the regulator's files as an administrator handles them."""

import json
import lzma
import re
from pathlib import Path

import pytest

from numcheck import plan
from numcheck.store import Store
from tests.serving.command import ROOT, run, serving

DATA_DIR = ROOT / "tests" / "plan" / "data"
APRIL = DATA_DIR / "DEF-9xx_2026-04-20.csv.xz"
CP1251 = DATA_DIR / "DEF-9x_2018-10-20_codes-900-955-999.csv.xz"
FIXED_LINE = DATA_DIR / "ABC-3x_2018-10-20_codes-301-395.csv.xz"
INVENTED = DATA_DIR / "invented-codes_2023-06-01.csv.xz"
SPREADSHEET = DATA_DIR / "spreadsheet_2023-01-12.csv.xz"
(BUNDLED,) = (Path(plan.__file__).parent / "data").glob("*.xz")
GOOD_ROWS = ["900;0;9;10;x;y", "900;10;19;10;x;y", "900;20;29;10;x;y"]
HEADER = "code;from;to;capacity;operator;region\n"


def held(data_dir):
    """Every range with its holder, and the revision of the store that holds them."""
    with Store(data_dir, read_only=True) as store:
        return store.ranges(), store.operators(), store.revision


def test_files_are_imported_and_shown(tmp_path):
    """A mobile and a fixed-line file in one go, whatever their encoding: series, counts, and who holds how much."""
    data_dir = tmp_path / "var"
    imported = run("plan", "import", CP1251, FIXED_LINE, "--data-dir", data_dir, "--json")
    assert imported.status == 0
    assert "warning" not in imported.err
    told = json.loads(imported.out)
    assert told["data_times"] == dict.fromkeys("39", "2018-10-20T00:00:00+00:00")
    assert told["series"] == ["3", "9"]
    assert (told["ranges"], told["numbers"]) == (560 + 5_666, 20_010_400 + 2_375_638)
    assert (told["skipped"], told["notes"]) == ([], [])
    assert held(data_dir)[2] == told["revision"] == 1
    shown = json.loads(run("plan", "show", "--data-dir", data_dir, "--json").out)
    assert [(one["series"], one["data_time"][:10], one["source"]) for one in shown["series"]] == [
        ("+7 3xx", "2018-10-20", f"{CP1251.name}, {FIXED_LINE.name}"),
        ("+7 9xx", "2018-10-20", f"{CP1251.name}, {FIXED_LINE.name}"),
    ]
    holdings = shown["operators"]
    assert sum(one["ranges"] for one in holdings) == told["ranges"]
    assert sum(one["mobile_numbers"] for one in holdings) == 20_010_400
    assert sum(one["other_numbers"] for one in holdings) == 2_375_638
    assert len(holdings) == told["operators"]
    sizes = [one["mobile_numbers"] + one["other_numbers"] for one in holdings]
    assert sizes == sorted(sizes, reverse=True)


def test_import_tells_its_counts_in_a_line(tmp_path):
    imported = run("plan", "import", BUNDLED, "--data-dir", tmp_path / "var")
    assert imported.status == 0
    assert imported.err.partition("\n")[2] == (  # after the warning that keys were made
        f"imported 17,059 ranges, 706,567,081 numbers, 73 operators into the store in {tmp_path / 'var'}; "
        "it replaces series 9xx; revision 1\n"
        "706,567,081 numbers added, 0 removed, 0 with another operator\n"
        "series 9xx: data of 2026-08-19\n"
    )


def test_table_has_a_row_for_each_operator_and_the_sums_of_all(small_dir):
    """Names to the letter, with what looks like markup; counts with thousands."""
    rows = run("plan", "show", "--data-dir", small_dir).out.splitlines()
    assert (rows[8:10], rows[10].split()) == (["", "of when it is"], ["series", "data", "of", "from"])
    assert [row.split() for row in rows[11:]] == [["+7", f"{one}xx", "not", "known", "small.csv"] for one in (3, 4, 9)]
    rows = rows[:8]
    assert rows[1].split() == ["1", "7740000076", "ПАО", '"МТС"', "2", "10,000,050", "0", "12"]
    assert rows[-1].split() == ["6", "operators", "9", "10,182,100", "20,000", "16"]


def test_plan_is_as_it_was_when_a_file_is_bad(data_dir):
    """Exit status 1; each bad row is named by its line with the reason, and a last line sums up."""
    before = held(data_dir)
    imported = run("plan", "import", INVENTED, "--data-dir", data_dir)
    assert imported.status == 1
    *refused, last = imported.err.splitlines()
    lines = [7937, 8003, 8011, 8012, 8014, 8015, 8016, 8019, 8028]
    assert [line.split(": ")[1] for line in refused] == [f"{INVENTED.name}:{number}" for number in lines]
    assert all(line.startswith("refused: ") for line in refused)
    assert refused[2].endswith(": the same range as line 7960")
    assert last.startswith("numcheck: 9 bad rows: ")
    assert held(data_dir) == before


def test_directory_is_not_even_made_when_the_first_file_is_bad(tmp_path):
    assert run("plan", "import", INVENTED, "--data-dir", tmp_path / "var").status == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_rows_are_left_out_and_named_when_they_are_to_be_skipped(tmp_path):
    """With --skip-bad: exit status 0, the other rows are taken; as JSON each skipped row has its line and reason."""
    imported = run("plan", "import", INVENTED, "--data-dir", tmp_path / "var", "--skip-bad", "--json")
    assert imported.status == 0
    told = json.loads(imported.out)
    assert told["ranges"] == 8_027 - 9
    assert [one["line"] for one in told["skipped"]] == [7937, 8003, 8011, 8012, 8014, 8015, 8016, 8019, 8028]
    assert told["skipped"][2] == {
        "file": INVENTED.name,
        "line": 8011,
        "reason": "DUPLICATE",
        "detail": "the same range as line 7960",
    }
    assert imported.err.count("skipped: ") == 9


def test_import_that_would_end_much_of_the_plan_has_to_be_forced(tmp_path):
    """A damaged file of a few good rows, and an old one, over a newer one: refused, with the way out; an old one that
    is meant is imported as ever."""
    data_dir, damaged = tmp_path / "var", tmp_path / "damaged.csv"
    few = [*GOOD_ROWS[:3], "900;x;y;z;w;v"]
    damaged.write_text("\n".join([HEADER.strip(), *few]) + "\n", encoding="utf-8")
    assert run("plan", "import", BUNDLED, "--data-dir", data_dir).status == 0
    before = held(data_dir)
    for file, options in ((damaged, ["--skip-bad"]), (INVENTED, ["--skip-bad"]), (SPREADSHEET, [])):
        refused = run("plan", "import", file, "--data-dir", data_dir, "--allow-older", *options)
        assert refused.status == 1
        note, last = refused.err.splitlines()[-2:]
        assert "--force imports it all the same" in note
        assert last.startswith("numcheck: series 9xx of the plan would lose ")
        assert "of its 706,567,081 numbers" in last
        assert held(data_dir) == before
    assert run("plan", "import", SPREADSHEET, "--data-dir", data_dir, "--force", "--allow-older").status == 0
    assert sum(one.last - one.first + 1 for one in held(data_dir)[0]) == 599_289_453
    assert run("plan", "import", BUNDLED, "--data-dir", data_dir).status == 0


def slipped(lines):
    """The newest file with its last column a row too low, as after a cell was inserted in a spreadsheet."""
    tax_ids = [line.rpartition(";")[2] for line in lines[1:]]
    rows = zip(lines[1:], [tax_ids[-1], *tax_ids[:-1]], strict=True)
    return [lines[0], *(f"{line.rpartition(';')[0]};{tax_id}" for line, tax_id in rows)]


def test_import_that_would_move_much_of_the_plan_has_to_be_forced(tmp_path):
    """In the directory and over a node's API; a year's changes pass. The largest moves are named."""
    data_dir, damaged = tmp_path / "var", tmp_path / "damaged.csv"
    damaged.write_text("\n".join(slipped(lzma.decompress(BUNDLED.read_bytes()).decode("utf-8-sig").splitlines())))
    assert run("plan", "import", APRIL, "--data-dir", data_dir).status == 0
    imported = run("plan", "import", BUNDLED, "--data-dir", data_dir)
    assert (imported.status, ", 35,800 with another operator\n" in imported.err) == (0, True)
    before = held(data_dir)
    refused = run("plan", "import", damaged, "--data-dir", data_dir)
    note, last = refused.err.splitlines()[-2:]
    assert refused.status == 1
    assert "--force imports it all the same" in note
    assert last.startswith("numcheck: of 706,567,081 numbers of series 9xx 151,176,975 would move to another operator")
    assert re.search(r"the largest moves: ПАО [^;]+ -> [^;]+ 10,705,000; [^;]+ -> [^;]+; [^;]+ -> [^;]+$", last)
    assert held(data_dir) == before
    with serving(data_dir):
        over_api = run("plan", "import", damaged, "--data-dir", data_dir)
    assert (over_api.status, held(data_dir)) == (1, before)
    assert over_api.err.splitlines()[-2:] == [note, last.replace("numcheck: ", "numcheck: MOVES_TOO_MUCH: ")]


@pytest.mark.parametrize("older", [APRIL, CP1251])
def test_file_that_is_older_than_the_series_is_refused_unless_that_is_meant(tmp_path, older):
    """April's over August's ends and moves less than a tenth; 2018's ends much. Neither word stands for the other."""
    data_dir = tmp_path / "var"
    assert run("plan", "import", BUNDLED, "--data-dir", data_dir).status == 0
    before, day = held(data_dir), "2026-04-20" if older == APRIL else "2018-10-20"
    refused = run("plan", "import", older, "--data-dir", data_dir, "--force")
    note, last = refused.err.splitlines()[-2:]
    assert (refused.status, held(data_dir)) == (1, before)
    assert note.endswith("; --allow-older imports it all the same")
    assert last == (
        f"numcheck: the data is of {day}T00:00:00+00:00; series 9xx of the plan is of 2026-08-19T00:00:00+00:00, "
        "which is later; allow older data if that is meant"
    )
    with serving(data_dir):
        over_api = run("plan", "import", older, "--data-dir", data_dir, "--force")
        assert (over_api.status, held(data_dir)) == (1, before)
        assert over_api.err.splitlines()[-2:] == [note, last.replace("numcheck: ", "numcheck: OLDER_DATA: ")]
        again = json.loads(run("plan", "import", BUNDLED, "--data-dir", data_dir, "--json").out)
        assert (again["revision"], held(data_dir)) == (before[2], before)  # the same file again changes nothing
    meant = run("plan", "import", older, "--data-dir", data_dir, "--allow-older")
    if older == CP1251:
        assert (meant.status, held(data_dir)) == (1, before)
        assert "--force imports it all the same" in meant.err
        meant = run("plan", "import", older, "--data-dir", data_dir, "--allow-older", "--force")
    assert meant.status == 0
    shown = json.loads(run("plan", "show", "--data-dir", data_dir, "--json").out)
    assert [one["data_time"] for one in shown["series"]] == [f"{day}T00:00:00+00:00"]


def test_file_of_no_known_day_is_taken_and_leaves_none(tmp_path):
    """With a warning, unless --data-time says it; its own time, that of the copy, says nothing."""
    data_dir, copy = tmp_path / "var", tmp_path / "DEF-9xx.csv.xz"
    copy.write_bytes(APRIL.read_bytes())
    assert run("plan", "import", APRIL, "--data-dir", data_dir).status == 0
    refused = run("plan", "import", copy, "--data-dir", data_dir, "--data-time", "2026-04-19T23:59:59")
    assert (refused.status, "which is later" in refused.err) == (1, True)
    again = run("plan", "import", copy, "--data-dir", data_dir, "--json")
    assert (again.status, json.loads(again.out)["data_times"]) == (0, {"9": None})
    assert again.err.startswith("warning: series 9xx: nobody knows of when the data is")
    assert [one.data_time.isoformat()[:10] for one in series_of(data_dir)] == ["2026-04-20"]  # the same rows
    changed = tmp_path / "changed.csv"
    changed.write_bytes(lzma.decompress(APRIL.read_bytes()).rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n")
    assert run("plan", "import", changed, "--data-dir", data_dir).status == 0
    assert [one.data_time for one in series_of(data_dir)] == [None]


def test_files_of_several_days_are_imported_each_of_its_own(tmp_path):
    """The oldest first; what was imported before one is refused is told."""
    data_dir, fixed = tmp_path / "var", tmp_path / "ABC-3xx_2018-10-21.csv.xz"
    fixed.write_bytes(FIXED_LINE.read_bytes())
    imported = json.loads(run("plan", "import", APRIL, fixed, "--data-dir", data_dir, "--json").out)
    assert {series: day[:10] for series, day in imported["data_times"].items()} == {
        "3": "2018-10-21",
        "9": "2026-04-20",
    }
    assert (imported["revision"], imported["added"]) == (2, imported["numbers"])
    assert [(one.series, one.source) for one in series_of(data_dir)] == [("3", fixed.name), ("9", APRIL.name)]
    newer = tmp_path / "ABC-3xx_2018-10-22.csv.xz"
    newer.write_bytes(FIXED_LINE.read_bytes())
    assert run("plan", "import", BUNDLED, "--data-dir", data_dir).status == 0
    refused = run("plan", "import", APRIL, newer, "--data-dir", data_dir)
    assert refused.status == 1
    assert "note: imported already: series 3xx, of 2018-10-22" in refused.err
    assert [one.data_time.isoformat()[:10] for one in series_of(data_dir)] == ["2018-10-22", "2026-08-19"]


def series_of(data_dir):
    with Store(data_dir, read_only=True) as store:
        return store.series()


def with_operators(lines, renamed):
    """The file with other cells for its operators, under the header as it was."""
    rows = [line.split(";") for line in lines[1:]]
    return "\n".join([lines[0], *(";".join([*row[:4], renamed(row), *row[5:]]) for row in rows)])


def test_operators_that_go_by_other_names_are_told(tmp_path):
    """With tax ids nothing moves; places instead of names are refused, by their lines, as they are in a first plan."""
    data_dir, damaged = tmp_path / "var", tmp_path / "damaged.csv"
    new = lzma.decompress(BUNDLED.read_bytes()).decode("utf-8-sig").splitlines()
    damaged.write_text(with_operators(new, lambda row: row[6]), encoding="utf-8")
    refused = run("plan", "import", damaged, "--data-dir", data_dir)
    assert (refused.status, "17,059 bad rows: damaged.csv:2: a place where" in refused.err) == (1, True)
    assert run("plan", "import", BUNDLED, "--data-dir", data_dir).status == 0
    damaged.write_text(with_operators(new, lambda row: f"{row[4]} Плюс"), encoding="utf-8")
    with serving(data_dir):
        imported = run("plan", "import", damaged, "--data-dir", data_dir)
    assert imported.status == 0
    told = imported.err.splitlines()[-1]
    assert re.match(
        r"warning: 7\d operators with 70\d,\d{3},\d{3} numbers go by another name now: [^;]+ -> [^;]+; ", told
    )
    assert told.endswith("more than a tenth of the plan: look whether columns of the file are exchanged")


def test_column_that_no_part_of_the_plan_is_read_from_is_told(tmp_path):
    registry = tmp_path / "r.csv"
    registry.write_text("Код;От;До;Оператор связи;Дата\n900;0;9;x;1.1.2026\n", encoding="utf-8")
    imported = run("plan", "import", registry, "--data-dir", tmp_path / "var")
    assert (imported.status, imported.err.splitlines()[0]) == (0, "note: r.csv:1: passed over: column 5 (Дата)")


def test_totals_line_is_reported_when_a_spreadsheet_left_one(tmp_path):
    """Passed over with its line number and both figures, and the rows are taken."""
    imported = run("plan", "import", SPREADSHEET, "--data-dir", tmp_path / "var")
    assert imported.status == 0
    note, _keys, done, *_ = imported.err.splitlines()
    totals = "a totals line, passed over; it says 597,101,453, the rows above have 599,289,453"
    assert note == f"note: {SPREADSHEET.name}:7982: {totals}"
    assert done.startswith("imported 7,980 ranges, 599,289,453 numbers")


def test_line_numbers_are_told_to_the_letter(tmp_path):
    """A terminal's emoji codes, such as :100:, stay what they are."""
    registry = tmp_path / "r.csv"
    rows = [f"900;{10 * place};{10 * place + 9};10;x;y\n" for place in range(98)]
    registry.write_text(HEADER + "".join(rows) + "900;5;5;2;[b]x[/b];y\n")
    assert "refused: r.csv:100: the capacity" in run("plan", "import", registry, "--data-dir", tmp_path / "var").err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html>503</html>", "a web page"),
        (b"a;b\n1;2\n", "not a registry file"),
        (HEADER.encode(), "there is no row in the file"),
        (b"\xfd7zXZ\0garbage", "cut or damaged"),
        (bytes(range(256)), "r.csv: "),
    ],
)
def test_file_is_refused_in_one_line_when_it_is_no_registry(tmp_path, content, reason):
    registry = tmp_path / "r.csv"
    registry.write_bytes(content)
    imported = run("plan", "import", registry, "--data-dir", tmp_path / "var")
    assert imported.status == 1
    (line,) = imported.err.splitlines()
    assert line.startswith("numcheck: r.csv: ")
    assert reason in line


def test_update_has_the_counted_changes():
    """As text and as JSON: between April and August 2026, whatever the spelling of the operators."""
    told = run("plan", "diff", APRIL, BUNDLED)
    assert told.status == 0
    assert told.out.splitlines()[:4] == [
        *("12,076,378 numbers added", "60 numbers removed"),
        *("35,800 numbers with another operator", "694,454,903 numbers unchanged"),
    ]
    counts = json.loads(run("plan", "diff", APRIL, BUNDLED, "--json").out)
    changes = counts.pop("changes")
    assert counts == {"added": 12_076_378, "removed": 60, "another_operator": 35_800, "unchanged": 694_454_903}
    sizes = {kind: sum(one["last"] - one["first"] + 1 for one in changes if one["kind"] == kind) for kind in counts}
    assert sizes == {**counts, "unchanged": 0}
    moved = next(one for one in changes if one["kind"] == "another_operator")
    assert moved["old_tax_id"] != moved["new_tax_id"]


def test_nothing_has_changed_between_a_file_and_itself():
    told = run("plan", "diff", CP1251, CP1251)
    assert told.out.splitlines() == [
        *("0 numbers added", "0 numbers removed", "0 numbers with another operator", "20,010,400 numbers unchanged")
    ]


def test_comparison_is_refused_when_one_file_is_bad():
    """Unless its bad rows are to be skipped."""
    compared = run("plan", "diff", INVENTED, SPREADSHEET)
    assert compared.status == 1
    (line,) = compared.err.splitlines()
    assert line.startswith(f"numcheck: 9 bad rows: {INVENTED.name}:7937: ")
    assert run("plan", "diff", INVENTED, SPREADSHEET, "--skip-bad").status == 0
