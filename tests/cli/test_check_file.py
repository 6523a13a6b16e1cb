"""`numcheck check --file`: every line in its place with its answer behind it, or no output at all."""

import csv
import gzip
import io
import os
import signal
import stat
import threading
from contextlib import suppress

import pytest

from numcheck.cli.checkers import local_checker
from numcheck.cli.files import check_file
from numcheck.cli.reading.layout import ColumnOptions
from numcheck.config import Settings
from numcheck.errors import BadNumbersFile
from tests.docs.pages import run_shell
from tests.serving import small
from tests.serving.command import run, running, serving

MTS_ACTIVE = 'ACTIVE,1,"ПАО ""МТС"""'
MTS_INACTIVE = 'INACTIVE,1,"ПАО ""МТС"""'
NOTHING = "NOT_A_NUMBER,,"
LINES = 100_000


@pytest.fixture
def check(small_dir, tmp_path):
    """Check a file's bytes straight from the directory; the bytes of the answer."""

    def checked(content: bytes, *options, env=None) -> bytes:
        source, target = tmp_path / "in.csv", tmp_path / "out.csv"
        source.write_bytes(content)
        ended = run("check", "--local", "--data-dir", small_dir, "--file", source, "--out", target, *options, env=env)
        assert (ended.status, ended.out) == (0, "")
        return target.read_bytes()

    return checked


def test_columns_are_kept_and_answers_put_behind_them(check):
    """The header's `phone` is the number, wherever it stands; a bad line is marked in its place."""
    content = """\
name,phone,note
"Иванов, И.",+7 916 123-45-67,"a ""quoted"" note"
Петров,89161234568,
empty,,
bad,12x,x
,+14155550100,абв
"""
    assert check(content.encode()).decode().splitlines() == [
        "name,phone,note,status,operator_id,operator",
        f'"Иванов, И.",+7 916 123-45-67,"a ""quoted"" note",{MTS_ACTIVE}',
        f"Петров,89161234568,,{MTS_INACTIVE}",
        f"empty,,,{NOTHING}",
        f"bad,12x,x,{NOTHING}",
        ",+14155550100,абв,INVALID,,",
    ]


@pytest.mark.parametrize("name", ["number", "Phone", " MSISDN ", '"номер"', "ТЕЛЕФОН"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_number_is_found_by_its_header_and_delimiter(small_dir, tmp_path, name, delimiter):
    """Any of the names in any case, any of the three delimiters, used for the answer as well."""
    lines = check_in_process(small_dir, tmp_path, f"id{delimiter}{name}\n1{delimiter}+79161234567\n".encode())
    assert lines[0] == delimiter.join(["id", name, "status", "operator_id", "operator"])
    assert next(csv.reader([lines[1]], delimiter=delimiter)) == ["1", "+79161234567", "ACTIVE", "1", 'ПАО "МТС"']


def check_in_process(small_dir, tmp_path, content: bytes) -> list[str]:
    """The same without a process of its own."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(content)
    with local_checker(Settings(data_dir=small_dir)) as checker:
        check_file(checker, source, target, lambda *_: None)
    return target.read_bytes().decode("utf-8", "surrogateescape").splitlines()


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        ("+79161234567\n89161234568\n", [f"+79161234567,{MTS_ACTIVE}", f"89161234568,{MTS_INACTIVE}"]),
        ("+79161234567", [f"+79161234567,{MTS_ACTIVE}"]),
        ("\ufeff+79161234567\n", [f"+79161234567,{MTS_ACTIVE}"]),
        ("\ufeffphone\n+79161234567\n", ["phone,status,operator_id,operator", f"+79161234567,{MTS_ACTIVE}"]),
        ("phone\r\n+79161234567\r\n", ["phone,status,operator_id,operator", f"+79161234567,{MTS_ACTIVE}"]),
        ('"+7 916 123-45-67"\n', [f'"+7 916 123-45-67",{MTS_ACTIVE}']),
        ("phone,note\n+79161234567\n", ["phone,note,status,operator_id,operator", f"+79161234567,,{MTS_ACTIVE}"]),
        (
            'phone,a,b\n+79161234567,"x,y"\n',
            ["phone,a,b,status,operator_id,operator", f'+79161234567,"x,y",,{MTS_ACTIVE}'],
        ),
        ("\n+79161234567\n", [f",{NOTHING}", f"+79161234567,{MTS_ACTIVE}"]),
        ("+79161234567\n\n89161234568\n", [f"+79161234567,{MTS_ACTIVE}", f",{NOTHING}", f"89161234568,{MTS_INACTIVE}"]),
        (
            'phone\n"+79161234567\n89161234568\n',
            ["phone,status,operator_id,operator", f'"""+79161234567",{NOTHING}', f"89161234568,{MTS_INACTIVE}"],
        ),
        (
            'phone\n"a"\rb\n+79161234567\n',
            ["phone,status,operator_id,operator", '"""a""', f'b",{NOTHING}', f"+79161234567,{MTS_ACTIVE}"],
        ),
        (
            "phone\r\r\n+79161234567\r\r\n89161234568\r\r\r\n",
            ["phone,status,operator_id,operator", f"+79161234567,{MTS_ACTIVE}", f"89161234568,{MTS_INACTIVE}"],
        ),
        ("phone\n", ["phone,status,operator_id,operator"]),
        ("", []),
    ],
    ids=[
        *(
            "no header",
            "no line end",
            "BOM",
            "BOM and header",
            "CRLF",
            "quotes",
            "short line",
            "short line with quotes",
        ),
        *("empty first line", "empty line", "open quote", "lone CR", "CR twice", "header alone", "empty"),
    ],
)
def test_lines_are_answered_however_the_file_is_written(small_dir, tmp_path, content, answers):
    """One line never takes its neighbours with it; an empty file gives an empty one."""
    assert check_in_process(small_dir, tmp_path, content.encode()) == answers


def test_bytes_that_are_not_utf_8_go_through_as_they_came(check):
    """Latin-1 names and cp1251 notes, in the columns that are not ours."""
    content = b"phone,name\n+79161234567,Jos\xe9\n89161234568,\xcf\xe5\xf2\xf0\n\xff,x\n"
    lines = check(content).split(b"\n")
    assert lines[1] == b"+79161234567,Jos\xe9," + MTS_ACTIVE.encode()
    assert lines[2] == b"89161234568,\xcf\xe5\xf2\xf0," + MTS_INACTIVE.encode()
    assert lines[3] == b"\xff,x," + NOTHING.encode()


def test_counts_are_told_when_a_file_is_done(small_dir, tmp_path):
    """Lines in all, by status, the most first; and that data was made up."""
    source = tmp_path / "in.csv"
    source.write_text("phone\n+79161234567\n+79160000001\nx\n")
    ended = run("check", "--local", "--data-dir", small_dir, "--file", source, "--out", tmp_path / "out.csv")
    assert "3 lines: 2 ACTIVE, 1 NOT_A_NUMBER" in ended.err
    assert "SYNTHETIC" in ended.err


def test_closed_standard_input_is_told_also_where_output_is_closed(small_dir):
    """As under a supervisor that gives a program none of them."""
    command = f"numcheck check --local --data-dir {small_dir} --file - <&- >&-"
    ended = run_shell(command, small_dir)
    assert (ended.status, ended.out, ended.err) == (1, "", "numcheck: standard input is closed\n")


def test_standard_input_goes_to_standard_output(small_dir):
    """`-` is standard input; without --out the answers are all that standard output gets."""
    ended = run(
        "check", "--local", "--data-dir", small_dir, "--file", "-", stdin="\ufeffphone\n+79161234567\n".encode()
    )
    assert ended.status == 0
    assert ended.out == f"phone,status,operator_id,operator\n+79161234567,{MTS_ACTIVE}\n"


def test_pipe_is_read_as_a_file_is(small_dir, tmp_path):
    """As with the shell's <(...): a pipe has no size and no place."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("+79161234567\n",))
    writer.start()
    ended = run("check", "--local", "--data-dir", small_dir, "--file", pipe)
    writer.join()
    assert (ended.status, ended.out) == (0, f"+79161234567,{MTS_ACTIVE}\n")


def test_pipe_is_written_to_and_never_replaced(small_dir, tmp_path):
    """Nor is a device: as root, --out /dev/null must not make a file of it."""
    pipe, source, read = tmp_path / "pipe", tmp_path / "in.csv", []
    os.mkfifo(pipe)
    source.write_text("+79161234567\n")
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    ended = run("check", "--local", "--data-dir", small_dir, "--file", source, "--out", pipe)
    reader.join()
    assert ended.status == 0
    assert read == [f"+79161234567,{MTS_ACTIVE}\n"]
    assert pipe.is_fifo()


def test_file_may_be_answered_in_its_own_place(small_dir, tmp_path):
    """The input is read whole before the output takes its name."""
    source = tmp_path / "in.csv"
    source.write_text("+79161234567\n")
    assert run("check", "--local", "--data-dir", small_dir, "--file", source, "--out", source).status == 0
    assert source.read_text() == f"+79161234567,{MTS_ACTIVE}\n"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A file of many batches: every number of the small plan's parts, in order, and some that are none."""
    path = tmp_path_factory.mktemp("many") / "in.csv"
    starts = (79159990000, 79685430000, 79000000000, 79990000000, 74951230000)
    numbers = (start + place for start in starts for place in range(LINES // len(starts)))
    lines = (f"{place},+{number}\n" if place % 1_000 else f"{place},x\n" for place, number in enumerate(numbers))
    path.write_text("id,phone\n" + "".join(lines))
    return path


def test_node_and_directory_give_the_same_file(node, small_dir, many, tmp_path):
    """Batch after batch, line by line; every line of the input is there, in its order."""
    remote = run("check", "--file", many, "--out", tmp_path / "remote.csv", "--server", node.address)
    local = run("check", "--file", many, "--out", tmp_path / "local.csv", "--local", "--data-dir", small_dir)
    assert (remote.status, local.status) == (0, 0)
    assert (tmp_path / "remote.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    with (tmp_path / "local.csv").open(newline="") as answered, many.open(newline="") as asked:
        rows = list(zip(csv.reader(asked), csv.reader(answered), strict=True))
    assert len(rows) == LINES + 1
    assert all(wanted == row[:2] for wanted, row in rows)
    assert all((wanted[1] == "x") == (row[2] == "NOT_A_NUMBER") for wanted, row in rows)


def test_batches_are_as_small_as_the_configured_limit(node, check):
    """A node that takes few numbers a call does not refuse a file, if the settings say so."""
    numbers = "".join(f"+{small.ACTIVE + place}\n" for place in range(100)).encode()
    answers = check(numbers, env={"NUMCHECK_NUMBERS_PER_CALL_MAX": "7"}).decode().splitlines()
    assert [line.split(",")[1] for line in answers] == ["ACTIVE"] + ["INACTIVE"] * 99


def test_no_output_appears_when_the_node_dies_midway(data_dir, many, tmp_path):
    """Neither the file nor a part of it, and what stood there before stands there still; one line says why."""
    target, rest = tmp_path / "out.csv", tmp_path / "pipe"
    target.write_text("as before\n")
    os.mkfifo(rest)
    with serving(data_dir) as node:
        options = ("--file", rest, "--out", target, "--server", node.address)
        with running("check", *options) as process:
            with suppress(BrokenPipeError), rest.open("w") as feed:
                feed.write(many.read_text())
                feed.flush()
                process.line_with("checking: ")
                node.process.signal(signal.SIGKILL)
                node.process.wait()
            assert process.wait() == 1
    assert process.lines[-1].startswith("numcheck: ")
    assert not any("Traceback" in line for line in process.lines)
    assert target.read_text() == "as before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "pipe", "var"]


def test_no_output_appears_when_the_file_is_not_there(small_dir, tmp_path):
    target = tmp_path / "out.csv"
    ended = run("check", "--local", "--data-dir", small_dir, "--file", tmp_path / "none.csv", "--out", target)
    assert (ended.status, ended.err) == (1, f"numcheck: {tmp_path / 'none.csv'}: no such file or directory\n")
    assert list(tmp_path.iterdir()) == []


def test_answers_read_back_as_csv_when_names_have_quotes(check):
    """What a CSV reader makes of the output is the input and three cells."""
    rows = list(csv.reader(io.StringIO(check(b"phone\n+79000000000\n").decode())))
    assert rows == [["phone", "status", "operator_id", "operator"], ["+79000000000", "ACTIVE", "3", 'ООО "Т2 Мобайл"']]


# --- which column, which encoding


def answers_of(small_dir, tmp_path, content: bytes, column: str | None = None) -> tuple[list[list[str]], str]:
    """The rows of the answer, without their header, and what was told of the reading."""
    source, target, told = tmp_path / "in.csv", tmp_path / "out.csv", []
    source.write_bytes(content)
    with local_checker(Settings(data_dir=small_dir)) as checker:
        check_file(checker, source, target, lambda *_: None, wanted=ColumnOptions(column), tell=told.append)
    lines = target.read_text(encoding="utf-8").splitlines()
    return [next(csv.reader([line], delimiter=";")) for line in lines][1:], told[0]


RUSSIAN = "id;Номер телефона;ФИО\n9160000111;+79161234567;Иванов Пётр\n9160000112;8 (916) 123-45-68;Ярцева Юлия\n"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8 with BOM"),
        ("utf-16", "UTF-16 LE with BOM"),
        ("utf-16-le", "UTF-16 LE"),
        ("utf-16-be", "UTF-16 BE"),
        ("cp1251", "cp1251"),
        ("koi8-r", "KOI8-R"),
        ("cp866", "cp866"),
        ("mac-cyrillic", "MacCyrillic"),
        ("iso8859-5", "ISO 8859-5"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_numbers_are_found_by_a_russian_header_in_any_encoding(small_dir, tmp_path, encoding, name, pack):
    """Never the ids, though they look like numbers; the answer is UTF-8, whatever came; the reading is told."""
    rows, told = answers_of(small_dir, tmp_path, pack(RUSSIAN.replace("\n", "\r\n").encode(encoding)))
    assert rows == [
        ["9160000111", "+79161234567", "Иванов Пётр", "ACTIVE", "1", 'ПАО "МТС"'],
        ["9160000112", "8 (916) 123-45-68", "Ярцева Юлия", "INACTIVE", "1", 'ПАО "МТС"'],
    ]
    packed = "" if pack is bytes else "gzip, "
    assert told == (
        f'in.csv: {packed}{name}, delimiter ";", numbers in column 2 (Номер телефона), not read: 1 (id), 3 (ФИО)'
    )


def test_excels_own_first_line_says_the_delimiter(small_dir, tmp_path):
    rows, _ = answers_of(small_dir, tmp_path, b"sep=;\nname;phone\nx, y;+79161234567\n")
    assert rows == [["name", "phone", "status", "operator_id", "operator"], ["x, y", "+79161234567", *ANSWER]]


ANSWER = ["ACTIVE", "1", 'ПАО "МТС"']


@pytest.mark.parametrize("column", ["2", "contact", "Contact "])
def test_column_is_the_one_that_was_said(small_dir, tmp_path, column):
    rows, told = answers_of(small_dir, tmp_path, b"id;contact\n9160000111;+79161234567\n", column)
    assert rows == [["9160000111", "+79161234567", *ANSWER]]
    assert "numbers in column 2 (contact)" in told


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"9160000111;+79161234567\n", "2 columns and no header: say in which column the numbers are"),
        (b"id;contact\n1;+79161234567\n", "no column has a name that is known for numbers: 1 (id), 2 (contact)"),
        ("Счёт;Тариф\n1;9160000111\n".encode("cp1251"), "no column has a name that is known for numbers: 1, 2; say"),
        (b"number;phone\n1;+79161234567\n", "several columns may hold the numbers: 1 (number), 2 (phone)"),
        ("Телефон;Телефон\n1;2\n".encode(), "several columns may hold the numbers"),
        (b"1;2,3,4;5\n", '";" and "," both may be the delimiter'),
        (b"first;last\n79160000000;79160000009\n", "a file of ranges"),
        (b"PK\x03\x04xyz", "a ZIP archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1x", "an old Excel workbook"),
        ("phone\n1\n".encode("utf-32"), "UTF-32"),
        (b"79161234567\0\n", "binary data, or UTF-16 without a byte order mark"),
        (b"<html><body>", "a web page"),
        (b"79161234567\r79161234568\r", "CR alone"),
        (gzip.compress(b"79161234567\n" * 1_000, mtime=0)[:-9], "the compressed file is cut or damaged"),
        (gzip.compress(gzip.compress(b"79161234567\n", mtime=0), mtime=0), "compressed twice; unpack it once"),
        (b"phone\n" + b"7" * 70_000, "in.csv:2: a line of more than 65,536 bytes"),
        (b"\xff\xfe" + "phone\n+79161234567\n".encode("utf-16-le") + b"x", "a damaged character"),
    ],
)
def test_file_that_is_uncertain_is_refused_and_told(small_dir, tmp_path, content, words):
    """No output is made, and what stood there stays."""
    (tmp_path / "out.csv").write_text("before;x\n")
    with pytest.raises(BadNumbersFile, match=r"^in\.csv:") as refused:
        answers_of(small_dir, tmp_path, content)
    assert words in str(refused.value)
    assert (tmp_path / "out.csv").read_text() == "before;x\n"


def test_file_of_which_no_line_holds_a_number_fails(small_dir, tmp_path):
    """Its lines are marked all the same."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("phone\nx\n79161234567,0\n")
    ended = run("check", "--local", "--data-dir", small_dir, "--file", source, "--out", target)
    assert (ended.status, "no line holds a number" in ended.err) == (1, True)
    assert target.read_text().splitlines()[1:] == [f"x,{NOTHING}", f'"79161234567,0",{NOTHING}']


def test_output_is_its_owners_alone(small_dir, tmp_path):
    """Also where a file stood that others could read: it holds subscribers' numbers."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("+79161234567\n")
    target.touch(mode=0o644)
    with local_checker(Settings(data_dir=small_dir)) as checker:
        check_file(checker, source, target, lambda *_: None)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_output_follows_no_link(small_dir, tmp_path):
    """Neither in its own place nor where a part of it may be expected."""
    victim, source, target = tmp_path / "victim", tmp_path / "in.csv", tmp_path / "out.csv"
    victim.write_text("untouched")
    source.write_text("+79161234567\n")
    (tmp_path / "out.csv.part").symlink_to(victim)
    with local_checker(Settings(data_dir=small_dir)) as checker:
        check_file(checker, source, target, lambda *_: None)
        target.unlink()
        target.symlink_to(victim)
        with pytest.raises(OSError, match="symbolic link"):
            check_file(checker, source, target, lambda *_: None)
    assert victim.read_text() == "untouched"


# --- what a spreadsheet makes of it


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+1+2", "'+1+2"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        (" =1+1", "' =1+1"),
        ("＝1+1", "'＝1+1"),
        ("\t=1", "'\t'=1"),
        ('"=1+1"', "'=1+1"),
        ("+79161234568", "+79161234568"),
        ("+7 916 123-45-67", "+7 916 123-45-67"),
        ("-12.50", "-12.50"),
        ("a=b", "a=b"),
        ("7-916", "7-916"),
    ],
)
@pytest.mark.parametrize("place", ["{};+79161234567", "+79161234567;{}"])
def test_cell_that_a_spreadsheet_would_run_is_text(small_dir, tmp_path, cell, written, place):
    """Numbers of people and amounts stay what they are."""
    line, column = place.format(cell), 1 + place.index("+7") // 2
    rows, _ = answers_of(small_dir, tmp_path, f"a;b\n{line}\n".encode(), str(column))
    assert rows[0][:2] == ([written, "+79161234567"] if column == 2 else ["+79161234567", written])
    assert rows[0][2:] == ANSWER


def test_operators_name_that_a_spreadsheet_would_run_is_text(small_dir, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("+79161234567\n")
    with local_checker(Settings(data_dir=small_dir)) as checker:
        checker.operator_names[1] = "=HYPERLINK(1)"
        check_file(checker, source, target, lambda *_: None)
    assert target.read_text() == "+79161234567,ACTIVE,1,'=HYPERLINK(1)\n"


@pytest.mark.parametrize("top", ["\n", "\r\n\r\n", ";;\n", '"";"";""\n', " \n\t\n"])
def test_header_is_found_behind_empty_rows(small_dir, tmp_path, top):
    """As reports of a spreadsheet have them; they stay where they were."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    for encoding in ("utf-8", "cp1251", "utf-16"):
        source.write_bytes(f"{top}id;телефон;x\n9160000111;+79161234567;y\n".encode(encoding))
        with local_checker(Settings(data_dir=small_dir)) as checker:
            check_file(checker, source, target, lambda *_: None)
        *before, header, row = target.read_text(encoding="utf-8").splitlines()
        assert before == top.splitlines()
        assert header == "id;телефон;x;status;operator_id;operator"
        assert row == '9160000111;+79161234567;y;ACTIVE;1;"ПАО ""МТС"""'


def test_line_of_one_column_is_one_number(small_dir, tmp_path):
    """Whatever character divides it."""
    rows = check_in_process(small_dir, tmp_path, b"+79161234567\n+79161234567\x1f0\n")
    assert rows == [f"+79161234567,{MTS_ACTIVE}", f"+79161234567\x1f0,{NOTHING}"]
