"""The clearing house's files: every kind is read, and what cannot be trusted is refused by its line."""

import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.active import clearing_house
from numcheck.active.clearing_house import (
    HEADERS,
    FileName,
    Portings,
    file_name,
    in_order,
    of_one_moment,
    read_operators,
    sequence_warning,
)
from numcheck.errors import BadPortingsFile

TIME = "202608190300"
CODES = ("mMTS", "mMEGAFON", "mBEELINE", "mTELE2")
DATE = "2026-08-18T10:00:00+03:00"
LIMIT_OF_A_LINE = 4_096


def read_portings(file: FileName) -> Portings:
    """Return the portings of a file that is alone at its moment."""
    (found,) = clearing_house.read_portings([file])
    return found


def row(kind: str, number: str, code: str, holder: str, count: str) -> str:
    """A row of a kind of file, as the house writes it."""
    cells = {
        "Port_All": [number, code, "01", "D7701", "77", DATE, count],
        "Port_All_Full": [number, code, "01", "D7701", "77", DATE, count, "1", "mMTS", holder, "D7702", "02", "P"],
        "Port_Increment": ["1", number, code, "mMTS", holder, "D7702", "D7701", "02", "01", "77", DATE, count],
        "Return_Increment": ["1", number, code, holder, "01", "D7702", "D7701", "77", DATE, count],
    }
    return ",".join(cells[kind])


def written(directory: Path, kind: str, rows: list[str], *, packed: bool = False, header: str | None = None) -> Path:
    content = "\r\n".join([HEADERS[kind] if header is None else header, *rows, ""]).encode()
    path = directory / f"{kind}_{TIME}_17.{'zip' if packed else 'csv'}"
    if packed:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}.csv", content)
    else:
        path.write_bytes(content)
    return path


def rows_of(kind: str, moves: list[tuple[int, str, str]]) -> list[str]:
    """Rows of numbers with their recipients and range holders; the first says how many there are."""
    return [
        row(kind, f"9{number:09}", code, holder, "" if place else str(len(moves)))
        for place, (number, code, holder) in enumerate(moves)
    ]


MOVES = st.lists(
    st.tuples(st.integers(0, 10**9 - 1), st.sampled_from(CODES), st.sampled_from(CODES)),
    min_size=1,
    unique_by=lambda move: move[0],
)


@given(kind=st.sampled_from(list(HEADERS)[:-1]), moves=MOVES, packed=st.booleans())
def test_every_row_is_read(tmp_path_factory, kind, moves, packed):
    """Ported to its recipient; gone home where the file or the row says so."""
    directory = tmp_path_factory.mktemp("files")
    found = read_portings(file_name(written(directory, kind, rows_of(kind, moves), packed=packed)))
    expected: dict[str, list[int]] = {}
    returned = []
    for number, code, holder in moves:
        if kind == "Return_Increment" or (kind == "Port_Increment" and code == holder):
            returned.append(79_000_000_000 + number)
        else:
            expected.setdefault(code, []).append(79_000_000_000 + number)
    assert {code: list(numbers) for code, numbers in found.ported.items()} == expected
    assert list(found.returned) == returned


KINDS = list(HEADERS)[:-1]


@given(
    kind=st.sampled_from(KINDS),
    moves=st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(CODES), st.integers(0, 47), st.sampled_from(["+03:00", "+00:00", ""])
        ),
        min_size=1,
    ),
)
def test_last_row_of_a_number_by_its_port_date_counts(tmp_path_factory, kind, moves):
    """Whatever their order; one that is of the same moment and says otherwise refuses the file by its line."""
    rows, last, line_of, clash = [], {}, {}, None
    for place, (number, code, half_hours, offset) in enumerate(moves):
        clock = datetime(2026, 8, 18, tzinfo=UTC) + timedelta(minutes=30 * half_hours)
        text = f"{clock:%Y-%m-%dT%H:%M:%S}{offset}"
        moment = clock - timedelta(hours=0 if offset == "+00:00" else 3)  # without an offset it is the house's clock
        count = str(len(moves)) if place == 0 else ""
        rows.append(row(kind, f"9{number:09}", code, "mMTS", count).replace(DATE, text))
        gone_home = kind == "Return_Increment" or (kind == "Port_Increment" and code == "mMTS")
        said = None if gone_home else code
        before = last.get(number)
        if before is not None and before[0] == moment and before[1] != said:
            clash = (place + 2, line_of[number])
            break
        if before is None or moment > before[0]:
            last[number], line_of[number] = (moment, said), place + 2
    path = written(tmp_path_factory.mktemp("files"), kind, rows + rest(kind, moves, len(rows)))
    if clash:
        with pytest.raises(BadPortingsFile, match=rf":{clash[0]}: the number of {path.name}:{clash[1]} with its"):
            read_portings(file_name(path))
        return
    found = read_portings(file_name(path))
    told = {number: code for code, numbers in found.ported.items() for number in numbers}
    told |= dict.fromkeys(found.returned)
    assert told == {79_000_000_000 + number: said for number, (_, said) in last.items()}
    assert len(found.returned) + sum(map(len, found.ported.values())) == len(last)


@given(
    moves=st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(["Port_Increment", "Return_Increment"]), st.sampled_from(CODES[1:])
        ),
        min_size=1,
        max_size=12,
    ),
    chance=st.randoms(),
)
def test_last_row_of_a_number_counts_whichever_increment_of_a_moment_has_it(tmp_path_factory, moves, chance):
    """Each move comes a minute after the one before it; the rows of each file stand in any order."""
    directory, rows, last = tmp_path_factory.mktemp("files"), {}, {}
    for minute, (number, kind, code) in enumerate(moves):
        moment = f"2026-08-18T10:{minute:02}:00+03:00"
        rows.setdefault(kind, []).append(row(kind, f"9{number:09}", code, "mMTS", "").replace(DATE, moment))
        last[79_000_000_000 + number] = code if kind == "Port_Increment" else None
    files = []
    for kind, some in rows.items():
        chance.shuffle(some)
        whole = [f"{one}{len(some)}" if place == 0 else one for place, one in enumerate(some)]
        files.append(file_name(written(directory, kind, whole)))
    (together,) = of_one_moment(files)
    told = {}
    for found in clearing_house.read_portings(together):
        told |= {number: code for code, numbers in found.ported.items() for number in numbers}
        told |= dict.fromkeys(found.returned)
    assert told == last


def test_all_portings_are_read_alone_and_increments_of_another_minute_too(tmp_path):
    names = [
        "Port_Increment_202608190300_17",
        "Port_All_202608190300_18",
        "Return_Increment_202608190300_9",
        "Return_Increment_202608190301_10",
    ]
    files = [file_name(tmp_path / f"{name}.csv") for name in names]
    assert [[file.stem for file in some] for some in of_one_moment(files)] == [
        ["Return_Increment_202608190300_9", "Port_Increment_202608190300_17"],
        ["Port_All_202608190300_18"],
        ["Return_Increment_202608190301_10"],
    ]


def rest(kind, moves, done):
    """The rows behind the one that refuses the file: there, so that RowCount is right."""
    return [row(kind, f"9{number:09}", code, "mMTS", "") for number, code, *_ in moves[done:]]


def test_number_with_several_rows_needs_a_port_date(tmp_path):
    rows = rows_of("Port_All", [(1, "mMTS", ""), (1, "mTELE2", "")])
    path = written(tmp_path, "Port_All", [rows[0], rows[1].replace(DATE, "18.08.2026")])
    with pytest.raises(BadPortingsFile, match=rf"^{path.name}:3: the number has several rows, and this one's PortDate"):
        read_portings(file_name(path))


def test_file_that_repeats_very_many_numbers_is_refused(tmp_path, monkeypatch):
    rows = rows_of("Port_All", [(place // 2, "mMTS", "") for place in range(8)])
    monkeypatch.setattr(clearing_house, "REPEATED_MAX", 4)
    assert len(read_portings(file_name(written(tmp_path, "Port_All", rows))).ported["mMTS"]) == 4
    monkeypatch.setattr(clearing_house, "REPEATED_MAX", 3)
    with pytest.raises(BadPortingsFile, match="more than 3 numbers have several rows"):
        read_portings(file_name(written(tmp_path, "Port_All", rows)))


@pytest.mark.parametrize(
    ("name", "previous", "says"),
    [
        ("Port_Increment_202608190300_18", 17, None),
        ("Port_Increment_202608190300_19", 17, "Port_Increment 18 is missing"),
        ("Return_Increment_202608190300_22", 17, "Return_Increment 18 to 21 are missing"),
        ("Port_Increment_202608190300_17", 17, "its number is not above"),
        ("Port_Increment_202608190300_1", 17, "its number is not above"),
        ("Port_Increment_202608190300_17", 0, None),
        ("Port_All_202608190300_19", 17, None),
    ],
)
def test_number_in_the_name_tells_what_is_missing(tmp_path, name, previous, says):
    warning = sequence_warning(file_name(tmp_path / f"{name}.zip"), previous)
    assert warning is None if says is None else warning.startswith(says)


@pytest.mark.parametrize("code", ["m\x1b[31mMTS", "mMTS\u202e", "m" * 65])
def test_code_that_would_act_on_a_terminal_is_refused(tmp_path, code):
    with pytest.raises(BadPortingsFile, match=r":3: the operator's code is not of up to 64 plain characters"):
        read_portings(file_name(written(tmp_path, "Port_All", altered("9000000002", code)[:2])))


@pytest.mark.parametrize("name", ["А\x1b[31m", "=1+1+А", "А\u202e"])
def test_operators_name_that_is_no_plain_text_is_refused(tmp_path, name):
    with pytest.raises(BadPortingsFile, match=r"^Operators_\d+_17.csv:2: a "):
        read_operators(file_name(written(tmp_path, "Operators", [f"mMTS,01,7740000076,{name},1"])))


def test_name_tells_kind_moment_and_sequence(tmp_path):
    name = file_name(tmp_path / f"Port_All_Full_{TIME}_5.zip")
    assert (name.kind, name.time, name.sequence) == ("Port_All_Full", datetime(2026, 8, 19, tzinfo=UTC), 5)
    assert (name.is_snapshot, name.stem) == (True, f"Port_All_Full_{TIME}_5")


def test_files_are_in_order_of_moment_and_then_sequence(tmp_path):
    names = ["Port_Increment_202608190500_3", "Return_Increment_202608190300_10", "Port_Increment_202608190300_9"]
    found = in_order(file_name(tmp_path / f"{name}.csv") for name in names)
    assert [one.stem for one in found] == [*names[:0:-1], names[0]]


@pytest.mark.parametrize(
    "name", ["Port_All.csv", f"Port_All_{TIME}.csv", f"Port_All_{TIME}_1.txt", "Port_All_202613190300_1.csv", "x.csv"]
)
def test_file_of_another_name_is_refused(tmp_path, name):
    with pytest.raises(BadPortingsFile):
        file_name(tmp_path / name)


def altered(number: str, code: str = "mMTS") -> list[str]:
    """A good row, and one with another number or code."""
    return [GOOD[0], row("Port_All", number, code, "", "")]


NO_NUMBER = r":3: the number is not ten digits"
GOOD = rows_of("Port_All", [(1, "mMTS", ""), (2, "mTELE2", ""), (3, "mMTS", "")])
SECRET = "123456789"
BAD_ROWS = {
    "cut": (GOOD[:2], r": 2 rows, and RowCount says 3"),
    "too many": ([*GOOD, GOOD[1]], r": 4 rows, and RowCount says 3"),
    "no count": ([GOOD[1], *GOOD[2:]], r":2: the first row has no RowCount"),
    "a column too few": ([GOOD[0], GOOD[1].rpartition(",")[0], GOOD[2]], r":3: 6 columns instead of 7"),
    "a short number": (
        [GOOD[0], row("Port_All", f"9{SECRET}"[:-1], "mMTS", "", "")],
        r":3: the number is not ten digits",
    ),
    "another country's": (
        [GOOD[0], row("Port_All", f"8{SECRET}", "mMTS", "", "")],
        r":3: the number is not ten digits",
    ),
    "no digits": (altered("9x23456789"), NO_NUMBER),
    "other digits": (
        [GOOD[0], row("Port_All", "9" + "\u0661" * 9, "mMTS", "", "")],
        r":3: the number is not ten digits",
    ),
    "no operator": (altered(f"9{SECRET}", " "), r":3: the row names no operator"),
    "an endless line": ([GOOD[0], "9" * 5 * LIMIT_OF_A_LINE], r":3: a line of more than 4,096 characters"),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_file_is_refused_by_its_line_and_without_its_numbers(tmp_path, what):
    rows, words = BAD_ROWS[what]
    path = written(tmp_path, "Port_All", rows)
    with pytest.raises(BadPortingsFile, match=rf"^{path.name}{words}") as refused:
        read_portings(file_name(path))
    assert SECRET[:5] not in str(refused.value)


def test_file_with_another_header_is_refused(tmp_path):
    path = written(tmp_path, "Port_All", GOOD, header=HEADERS["Port_All_Full"])
    with pytest.raises(BadPortingsFile, match=r":1: the header is not that of a Port_All file"):
        read_portings(file_name(path))


def test_empty_file_of_portings_is_read(tmp_path):
    """Nothing happened in two hours: a header and no row."""
    assert read_portings(file_name(written(tmp_path, "Port_Increment", []))).ported == {}


def test_file_with_a_byte_order_mark_is_read(tmp_path):
    path = written(tmp_path, "Port_All", GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_portings(file_name(path)).ported.keys() == {"mMTS", "mTELE2"}


def test_file_that_is_no_text_is_refused(tmp_path):
    path = written(tmp_path, "Port_All", GOOD)
    path.write_bytes(path.read_bytes() + b"\xff\xfe")
    with pytest.raises(BadPortingsFile, match="not UTF-8"):
        read_portings(file_name(path))


@pytest.mark.parametrize("share", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_archive_that_is_cut_is_refused(tmp_path, share):
    path = written(
        tmp_path, "Port_All", rows_of("Port_All", [(place, "mMTS", "") for place in range(900)]), packed=True
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * share // 10])
    with pytest.raises(BadPortingsFile):
        read_portings(file_name(path))


def test_archive_of_another_name_or_of_several_is_refused(tmp_path):
    path = tmp_path / f"Port_All_{TIME}_1.zip"
    for names in (["other.csv"], [f"Port_All_{TIME}_1.csv", "other.csv"], []):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        with pytest.raises(BadPortingsFile, match="does not hold just"):
            read_portings(file_name(path))


OPERATORS = [
    'mMTS,01,7740000076,ПАО "МТС",5',
    'mMTS,02,,ПАО "МТС",',
    'mAKOS,35,1027700149124,"АКОС" ЗАО  ,0',
    'mTELE2 ,20,7743895280,"Т2 Мобайл, ООО",',
    "mNOBODY,99,,,",
]


def test_operators_are_read_whatever_their_names_hold(tmp_path):
    """A code of several rows, text behind a quote, a comma in a name, an OGRN instead of an INN, no tax id at all."""
    members = read_operators(file_name(written(tmp_path, "Operators", OPERATORS)))
    assert {code: one.tax_id for code, one in members.items()} == {
        "mMTS": "7740000076",
        "mAKOS": None,
        "mTELE2": "7743895280",
        "mNOBODY": None,
    }
    assert members["mTELE2"].name == "Т2 Мобайл, ООО"
    assert members["mAKOS"].name == "АКОС ЗАО"


def test_code_with_two_tax_ids_is_refused(tmp_path):
    rows = ["mMTS,01,7740000076,МТС,2", "mMTS,02,7743895280,МТС,"]
    with pytest.raises(BadPortingsFile, match=":3: mMTS has two tax ids"):
        read_operators(file_name(written(tmp_path, "Operators", rows)))


def test_archive_with_any_bit_flipped_is_read_as_it_was_or_refused(tmp_path):
    """What an archive does not check, such as a date, may change; what is read may not, and nothing else is raised."""
    path = written(tmp_path, "Port_All", GOOD, packed=True)
    whole, content = read_portings(file_name(path)), path.read_bytes()
    refused = 0
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert read_portings(file_name(path)) == whole
        except BadPortingsFile:
            refused += 1
    assert refused > 4 * len(content)


def test_archive_that_is_cut_anywhere_is_refused(tmp_path):
    path = written(tmp_path, "Port_All", GOOD, packed=True)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(BadPortingsFile):
            read_portings(file_name(path))


@pytest.mark.parametrize("packed", [False, True])
def test_file_of_too_many_bytes_is_refused_before_they_are_read(tmp_path, monkeypatch, packed):
    path = written(tmp_path, "Port_All", GOOD, packed=packed)
    size = len("\r\n".join([HEADERS["Port_All"], *GOOD, ""]))
    monkeypatch.setattr(clearing_house, "CONTENT_SIZE_MAX", size)
    assert len(read_portings(file_name(path)).ported["mMTS"]) == 2
    monkeypatch.setattr(clearing_house, "CONTENT_SIZE_MAX", size - 1)
    with pytest.raises(BadPortingsFile, match=r": more than \d+ bytes$"):
        read_portings(file_name(path))


def test_file_that_cannot_be_read_is_refused_by_what_the_system_says(tmp_path):
    with pytest.raises(BadPortingsFile, match="No such file"):
        read_portings(file_name(tmp_path / f"Port_All_{TIME}_1.zip"))


@pytest.mark.parametrize("later", ["", "0", "3", " 0 "])
def test_later_rows_say_nothing_of_the_row_count_or_the_same(tmp_path, later):
    rows = [GOOD[0], row("Port_All", "9000000002", "mMTS", "", later), GOOD[2]]
    assert len(read_portings(file_name(written(tmp_path, "Port_All", rows))).ported["mMTS"]) == 3


@pytest.mark.parametrize("later", ["2", "4", "x"])
def test_later_row_with_another_row_count_is_refused(tmp_path, later):
    rows = [GOOD[0], row("Port_All", "9000000002", "mMTS", "", later), GOOD[2]]
    with pytest.raises(BadPortingsFile, match=r":3: another RowCount than the first row's 3$"):
        read_portings(file_name(written(tmp_path, "Port_All", rows)))


def test_push_of_a_file_is_known_by_its_name_and_its_content(tmp_path):
    """However it is packed; issued anew, or whole at last, it is another push."""
    of_each = [
        file_name(written(tmp_path, "Port_All", rows, packed=packed)).push_id()
        for rows, packed in ((GOOD, False), (GOOD, True), (GOOD[:1], False), ([], False))
    ]
    assert of_each[0] == of_each[1]
    assert len(set(of_each)) == 3
    assert all(one.startswith(f"Port_All_{TIME}_17/") and len(one) <= 128 for one in of_each)
