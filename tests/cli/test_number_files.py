"""A file of numbers says the same whatever is in it beside a line, and is taken whole or not at all."""

import gzip
import hashlib
import lzma
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from numcheck.cli.number_files import NOTHING_EXPECTED, Expected, NumberFile, Reading
from numcheck.cli.reading import source as sources
from numcheck.cli.reading import table
from numcheck.cli.reading.layout import ColumnOptions
from numcheck.cli.reading.source import opened
from numcheck.cli.reading.statuses import statuses_of
from numcheck.errors import BadNumbersFile
from tests.cli.reading.test_entries import LINES

FIRST = 79_160_000_000
Said = tuple[set[int], set[int], set[tuple[int, int]], set[tuple[int, int]]]


def said_by(path: Path, *, delta: bool = False, expected: Expected = NOTHING_EXPECTED, **how: object) -> Said:
    """What a file says: the numbers added and removed, and the ranges added and removed."""
    said: Said = (set(), set(), set(), set())
    with opened(path, again=True) as file:
        numbers = NumberFile(file, Reading(delta, "RU", **how), expected)
        for _ in range(2):  # a push that is cut is begun anew
            pieces = [*numbers.pieces(lambda _: None)]
        for piece in pieces:
            for found, part in zip(said, piece, strict=True):
                found.update(part)
    return said


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "numbers.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


def added(*places: int) -> Said:
    return {FIRST + place for place in places}, set(), set(), set()


def refusal_of(path: Path, **how: object) -> str:
    with pytest.raises(BadNumbersFile) as refused:
        said_by(path, **how)
    assert str(FIRST)[:6] not in str(refused.value)
    return str(refused.value)


# --- a line is read by itself


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.booleans(), st.integers(1, 60))
@example(["0079161234567"], True, 1)
@example(["000079161234567", "79161234567"], True, 60)
@example(["7916_123_4567"], True, 60)
@example(["0", '"'], False, 60)
def test_file_says_what_each_of_its_lines_says(tmp_path, lines, delta, piece_size):
    """Wherever it is cut into pieces; it is refused if any line alone is, and by the first such."""
    before = table.PIECE_SIZE
    said, refused = (set(), set(), set(), set()), None
    lines = [f"{FIRST}", *(line for line in lines if not line.startswith("#")), f"{FIRST}"]
    for line_number, line in enumerate(lines, 1):
        try:
            # A first line tells the columns of a file, so none is the first.
            alone = said_by(written(tmp_path, f"{FIRST}\n{line}\n"), delta=delta)
            said = tuple(one | other for one, other in zip(said, alone, strict=True))
        except BadNumbersFile as error:
            refused = (line_number, str(error).partition(":2: ")[2])
            break
    table.PIECE_SIZE = piece_size
    try:
        together = written(tmp_path, "".join(f"{line}\n" for line in lines))
        if refused is None:
            assert said_by(together, delta=delta) == said
        else:
            assert refusal_of(together, delta=delta) == f"numbers.txt:{refused[0]}: {refused[1]}"
    finally:
        table.PIECE_SIZE = before


def test_removals_are_refused_in_a_snapshot(tmp_path):
    words = refusal_of(written(tmp_path, f"{FIRST}\n-{FIRST}\n"))
    assert words.startswith("numbers.txt:2: the line removes, and a snapshot holds what is in service")


# --- whatever the packing, the encoding and the way


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1251"])
@pytest.mark.parametrize("piece_size", [2, 30, 1 << 20])
def test_file_says_the_same_however_it_is_written(tmp_path, monkeypatch, pack, encoding, piece_size):
    monkeypatch.setattr(table, "PIECE_SIZE", piece_size)
    content = f"Телефон\r\n{FIRST}\r\n8 (916) 000-00-01\r\n+7\u00a0916\u00a00000002\r\n\r\n\u2013{FIRST + 3}\r\n"
    path = written(tmp_path, pack(content.encode(encoding)))
    assert said_by(path, delta=True) == ({FIRST, FIRST + 1, FIRST + 2}, {FIRST + 3}, set(), set())


def test_pipe_is_read_once_and_says_the_same_again(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"{FIRST}\n{FIRST + 1}\n",))
    writer.start()
    assert said_by(pipe) == added(0, 1)
    writer.join()


def test_pipe_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CONTENT_SIZE_MAX", 1_000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with suppress(BrokenPipeError), pipe.open("w") as file:
            while True:
                file.write(f"{FIRST}\n" * 1_000)

    writer = threading.Thread(target=write)
    writer.start()
    assert refusal_of(pipe) == "pipe: more than 1,000 bytes"
    writer.join()


def test_small_file_that_inflates_to_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CONTENT_SIZE_MAX", 1_000_000)
    assert "more than 1,000,000 bytes" in refusal_of(written(tmp_path, gzip.compress(f"{FIRST}\n".encode() * 100_000)))


def test_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = written(tmp_path, f"{FIRST}\n")
    with opened(path, again=True) as file:
        pieces = NumberFile(file, Reading(False, "RU")).pieces(lambda _: None)
        next(pieces)
        path.write_text(f"{FIRST}\n{FIRST + 1}\n")
        with pytest.raises(BadNumbersFile, match="was changed while it was read"):
            list(pieces)


# --- columns


def test_columns_are_those_of_the_header(tmp_path):
    """The tax office's ids beside the numbers, ten digits, empty lines: what operators send."""
    path = written(tmp_path, "contract;MSISDN;tariff\n9160000111;9160000001;x\n\n9160000112;+79160000002;\n")
    assert said_by(path) == added(1, 2)
    with opened(path, again=True) as file:
        told = NumberFile(file, Reading(False, "RU")).told
    assert told == 'numbers.txt: UTF-8, delimiter ";", numbers in column 2 (MSISDN), not read: 1 (contract), 3 (tariff)'


@pytest.mark.parametrize("header", ["first;last", "От;До", "начальный номер;конечный номер"])
def test_ranges_are_those_of_the_header(tmp_path, header):
    content = f"{header}\n{FIRST};{FIRST + 99}\n{FIRST + 200};{FIRST + 200}\n"
    assert said_by(written(tmp_path, content)) == ({FIRST + 200}, set(), {(FIRST, FIRST + 99)}, set())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{FIRST},0\n{FIRST + 1},1\n", "numbers.txt: 2 columns and no header: say in which column the numbers are"),
        (f"{FIRST};20260819\n", "numbers.txt: 2 columns and no header"),
        (f"{FIRST};{FIRST + 9}\n", "numbers.txt: 2 columns and no header"),
        (f"{FIRST}\n{FIRST},0\n", "numbers.txt:2: neither a number nor a range"),
        (f"{FIRST}\n{FIRST};{FIRST + 9}\n", "numbers.txt:2: neither a number nor a range"),
        (f"phone;x\n{FIRST};1\n{FIRST};1;2\n", "numbers.txt:3: 3 columns instead of 2"),
        (f"x;phone\n1;{FIRST}\n1\n", "numbers.txt:3: 1 columns instead of 2"),
        (f"x;phone\n1;{FIRST}\n1;\n", "numbers.txt:3: neither a number nor a range"),
        (f'phone;x\n{FIRST};"1\n', "numbers.txt:2: its quotes do not match"),
        (f"first;last\n{FIRST + 1};{FIRST}\n", "numbers.txt:2: the range ends before it starts"),
        (f"first;last\n{FIRST};\n", "numbers.txt:2: neither a number nor a range"),
        (f"first;last\n{FIRST}-{FIRST + 1};{FIRST + 9}\n", "numbers.txt:2: neither a number nor a range"),
        (f"first;last\n-{FIRST};{FIRST + 9}\n", "numbers.txt:2: neither a number nor a range"),
        (f"phone;дата отключения\n{FIRST};\n", "what is in service may stand in 2 (дата отключения); say which with"),
        (f"msisdn;Расторгнут\n{FIRST};0\n", "what is in service may stand in 2 (Расторгнут); say which with"),
        (f"msisdn;dt_from;dt_to\n{FIRST};2020-01-01;\n", "what is in service may stand in 3 (dt_to); say which with"),
        (f"phone;Архив\n{FIRST};x\n", "what is in service may stand in 2 (Архив); say which with"),
        (f"msisdn;lock\n{FIRST};0\n", "what is in service may stand in 2 (lock); say which with"),
        (f"phone;status;state\n{FIRST};1;1\n", "what is in service may stand in 2 (status), 3 (state)"),
        (f"phone;phone 2\n{FIRST};{FIRST + 1}\n", "several columns may hold the numbers: 1 (phone), 2 (phone 2)"),
        (f"Телефон;Старый телефон\n{FIRST};{FIRST + 1}\n", "several columns may hold the numbers"),
        (f"phone;operation\n{FIRST};x\n", "what is in service may stand in 2 (operation); say which with"),
        (f"+/-;phone\n-;{FIRST}\n+;{FIRST + 1}\n", "what is in service may stand in 1 (+/-); say which with"),
        (f"phone;x\n{FIRST};add\n{FIRST + 1};\n", "what is in service may stand in 2 (x); say which with"),
        (f"phone;x\n{FIRST};Отключён\n", "what is in service may stand in 2 (x); say which with"),
        (f"phone;Событие\n{FIRST};x\n", "what is in service may stand in 2 (Событие); say which with"),
        (f"phone;Причина\n{FIRST};x\n", "what is in service may stand in 2 (Причина); say which with"),
        (f"phone;x\n{FIRST};удаление\n{FIRST + 1};добавлен\n", "what is in service may stand in 2 (x); say which with"),
        (f"phone;x\n{FIRST};Расторжение договора\n", "what is in service may stand in 2 (x); say which with"),
        (f"phone;x\n{FIRST};PORT_OUT\n{FIRST + 1};churn\n", "what is in service may stand in 2 (x); say which with"),
        (f"phone;x\n{FIRST};IN\n{FIRST + 1};OUT\n", "what is in service may stand in 2 (x); say which with"),
        ("phone;x\n" + f"{FIRST};\n" * 200 + f"{FIRST};отключён\n", "what is in service may stand in 2 (x)"),
        (";".join(map(chr, range(97, 123))), "20 (t) and 6 more; say which with --column"),
        (f"phone;status\n{FIRST};blocked\n", "numbers.txt:2: a status that is not known"),
        (f"phone;status\n-{FIRST};1\n", "numbers.txt:2: a sign in front of a number whose status stands beside it"),
        (f"Абоненты\n{FIRST}\n", "numbers.txt:1: neither a number nor a range"),
    ],
)
def test_column_is_never_dropped(tmp_path, content, words):
    assert words in refusal_of(written(tmp_path, content), delta=True)


@pytest.mark.parametrize(
    ("active", "inactive"),
    [
        ("1", "0"),
        ("Активен", "ОТКЛЮЧЁН"),
        ("yes", "no"),
        ("Active", "closed"),
        ("ИСТИНА", "ЛОЖЬ"),
    ],  # Excel's in Russian
)
def test_status_says_what_is_in_service(tmp_path, active, inactive):
    """A snapshot leaves the others out, a delta removes them."""
    path = written(tmp_path, f"№ телефона,status\n{FIRST},{active}\n{FIRST + 1},{inactive}\n")
    assert said_by(path) == added(0)
    assert said_by(path, delta=True) == ({FIRST}, {FIRST + 1}, set(), set())


def test_status_is_in_the_column_and_the_words_that_were_said(tmp_path):
    path = written(tmp_path, f"{FIRST}|A\n{FIRST + 1}|D\n{FIRST + 2}|S\n")
    how = {"wanted": ColumnOptions("1", "2"), "statuses": statuses_of("a,s", "d")}
    assert said_by(path, delta=True, **how) == ({FIRST, FIRST + 2}, {FIRST + 1}, set(), set())
    assert said_by(path, wanted=ColumnOptions("1", every_row=True)) == added(0, 1, 2)


def test_second_column_is_read_or_refused_where_the_first_was_said(tmp_path):
    """Without a header `--column` says nothing of a column of ones and zeros; under its own name one means something
    else."""
    bare = written(tmp_path, f"{FIRST},1\n{FIRST + 1},0\n")
    assert "what is in service may stand in 2; say which with" in refusal_of(bare, wanted=ColumnOptions("1"))
    assert said_by(bare, wanted=ColumnOptions("1", "2")) == added(0)
    assert said_by(written(tmp_path, f"phone,roaming\n{FIRST},1\n{FIRST + 1},no\n")) == added(0, 1)


@pytest.mark.parametrize("name", ["valid_to", "In use", "enabled", "live", "sts", "действует до", "Выключен"])
def test_column_whose_name_hints_at_a_status_is_not_passed_over(tmp_path, name):
    told = refusal_of(written(tmp_path, f"phone;{name}\n{FIRST};1\n{FIRST + 1};0\n"))
    assert f"what is in service may stand in 2 ({name}); say which with" in told


@pytest.mark.parametrize("name", ["deleted", "is_blocked", "inactive", "not in service", "Расторгнут", "неактивен"])
@pytest.mark.parametrize(("live", "gone"), [("0", "1"), ("нет", "да"), ("false", "true")])
def test_yes_is_no_known_word_of_a_column_that_asks_the_opposite(tmp_path, name, live, gone):
    """Read as that of a status it would remove every subscriber, and add who has left."""
    path, wanted = written(tmp_path, f"phone;{name}\n{FIRST};{live}\n{FIRST + 1};{gone}\n"), ColumnOptions(None, name)
    for place in (name, "2"):
        told = refusal_of(path, delta=True, wanted=ColumnOptions(None, place))
        assert "numbers.txt:2: a status that is not known; --active-values and --inactive-values say" in told
    said = said_by(path, delta=True, wanted=wanted, statuses=statuses_of(live, gone))
    assert said == ({FIRST}, {FIRST + 1}, set(), set())
    words = written(tmp_path, f"phone;{name}\n{FIRST};active\n{FIRST + 1};closed\n")
    assert said_by(words, wanted=wanted) == added(0)


def test_other_columns_make_it_another_push(tmp_path):
    """A push is known by what it says: the same file read otherwise is not the one that was pushed before."""
    path = written(tmp_path, f"phone;status;end\n{FIRST};1;0\n")
    with opened(path, again=True) as file:
        digests = {
            NumberFile(file, Reading(False, "RU", ColumnOptions(status_column=status, every_row=not status))).digest()
            for status in ("status", "end", None)
        }
    assert len(digests) == 3


# --- whole or not at all


def test_count_and_checksum_are_checked(tmp_path):
    """Each as it is given beside the file, and as its last lines say it."""
    content = f"phone\r\n{FIRST}\r\n\r\n{FIRST + 1}-{FIRST + 9}\r\n".encode()
    digest = hashlib.sha256(content).hexdigest()
    said = ({FIRST}, set(), {(FIRST + 1, FIRST + 9)}, set())
    assert said_by(written(tmp_path, content), expected=Expected(2, digest.upper())) == said
    for trailer in (
        "# count 2\n",
        f"# sha256 {digest}\n",
        f"# count 2\n# SHA256 {digest}\n",
        f"#count 2\r\n#sha256 {digest}",
    ):
        assert said_by(written(tmp_path, content + trailer.encode())) == said
    assert "2 rows, where 3 were said" in refusal_of(written(tmp_path, content), expected=Expected(3))
    assert "another one was given" in refusal_of(written(tmp_path, content), expected=Expected(sha256="0" * 64))
    assert "2 rows, where 3 were said" in refusal_of(written(tmp_path, content + b"# count 3\n"))
    assert "not the SHA-256" in refusal_of(written(tmp_path, content + b"# sha256 " + b"0" * 64))
    assert "5: neither a row nor a trailer" in refusal_of(written(tmp_path, content + b"# comment\n"))
    assert "6: a row behind the trailer" in refusal_of(written(tmp_path, content + f"# count 2\n{FIRST}\n".encode()))
    assert "6: neither a row nor" in refusal_of(written(tmp_path, content + b"# count 2\n# count 2\n"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("piece_size", [10, 1 << 20])
def test_checksum_is_that_of_the_bytes_before_the_trailer(tmp_path, monkeypatch, encoding, piece_size):
    monkeypatch.setattr(table, "PIECE_SIZE", piece_size)
    content = f"Номер;имя\n{FIRST};Ян\n".encode(encoding)
    unmarked = encoding.replace("utf-16", "utf-16-le").replace("-sig", "")
    trailer = f"# sha256 {hashlib.sha256(content).hexdigest()}\n".encode(unmarked)
    assert said_by(written(tmp_path, content + trailer)) == added(0)
    altered = f"Номер;имя\n{FIRST + 1};Ян\n".encode(encoding)
    assert "not the SHA-256" in refusal_of(written(tmp_path, altered + trailer))


@pytest.mark.parametrize("cut", range(1, 12))
def test_number_that_is_cut_at_the_end_is_named(tmp_path, cut):
    """Also where what is left is a whole number of ten digits: nobody's, or somebody else's."""
    lines = f"{FIRST}\n{FIRST + 1}\n{FIRST + 2}"
    if cut < 11:  # else the whole line is gone, and only a count tells
        assert refusal_of(written(tmp_path, lines[:-cut])).startswith("numbers.txt:3: ")
    assert said_by(written(tmp_path, lines)) == added(0, 1, 2)


def test_range_that_is_cut_to_its_first_number_is_named(tmp_path):
    content = f"{FIRST}-{FIRST + 9}\n{FIRST + 10}-{FIRST + 19}"
    assert "numbers.txt:2: the last line has no end" in refusal_of(written(tmp_path, content[:-12]))
