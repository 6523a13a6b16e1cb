"""What is refused, with which reason; that bad rows can be skipped; and that nothing else is ever raised."""

import functools
import gzip
import lzma
import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numcheck.errors import BadRegistryFile
from numcheck.plan import Reason, RefusedRegistryFile, bundled_source, read_files, read_registry

HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"
GOOD = '900;0000000;0061999;62000;ООО "Т2 Мобайл";-;Краснодарский край;7743895280'
OTHER = '999;9600000;9999999;400000;ООО "Скартел";г. Москва;Город Москва;7701725181'


def read(*lines, **options):
    return read_registry([("f.csv", "".join(f"{line}\n" for line in lines).encode())], **options)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ("901;0;9;10;А;x;y", Reason.CUT_ROW, "7 of the file's 8 columns"),
        ("9", Reason.CUT_ROW, "1 of the file's 8 columns"),
        ("901;0;9;10;А;x;y;77438952", Reason.CUT_ROW, "the tax id is not 10 or 12 digits"),
        ("901;0;9;10;А;x;y;7743895280000", Reason.CUT_ROW, "the tax id is not 10 or 12 digits"),
        ("901;0;9;10;А;x;y;774389528O", Reason.CUT_ROW, "the tax id is not 10 or 12 digits"),
        ("901;0;9;10;А;x;y;7,74E+09", Reason.CUT_ROW, "the tax id is not 10 or 12 digits"),
        ("9010;0;9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_CODE, "a code of 4 digits where 3 are possible"),
        ("701;0;9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_CODE, "no code of Russia starts with 7"),
        ("90;0;9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_CODE, "no code of Russia starts with 0"),
        ("9O1;0;9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_CODE, "the code is not digits"),
        ("٩٠١;0;9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_CODE, "the code is not digits"),
        (";0;9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_CODE, "the code is not digits"),
        ("901;9;0;10;А;x;y;7743895280", Reason.IMPOSSIBLE_RANGE, "the range ends before it starts"),
        ("901;;9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_RANGE, "an end of the range is not digits"),
        ("901;0;-9;10;А;x;y;7743895280", Reason.IMPOSSIBLE_RANGE, "an end of the range is not digits"),
        (
            "901;0;10000000;10000001;А;x;y;7743895280",
            Reason.IMPOSSIBLE_RANGE,
            "an end of the range has 8 digits where 7 are possible",
        ),
        ("901;0;9;9;А;x;y;7743895280", Reason.WRONG_CAPACITY, "the capacity is not the 10 that the range holds"),
        ("901;0;9;;А;x;y;7743895280", Reason.WRONG_CAPACITY, "the capacity is not the 10 that the range holds"),
        ("901;0;9;10;;x;y;", Reason.NO_OPERATOR, "no operator and no tax id"),
        ("901;0;9;10; - ;x;y;-", Reason.NO_OPERATOR, "no operator and no tax id"),
        ('901;0;9;10;"";x;y;', Reason.NO_OPERATOR, "no operator and no tax id"),
        (GOOD, Reason.DUPLICATE, "the same range as line 2"),
        ("900;61999;61999;1;А;x;y;7743895280", Reason.OVERLAP, "overlaps line 2"),
    ],
)
def test_row_is_refused_or_skipped_when_it_is_bad(row, reason, detail):
    with pytest.raises(RefusedRegistryFile) as refused:
        read(HEADER, GOOD, row, OTHER)
    assert refused.value.problems == (("f.csv", 3, reason, detail),)
    assert str(refused.value) == f"1 bad row: f.csv:3: {detail}"
    reading = read(HEADER, GOOD, row, OTHER, skip_bad=True)
    assert reading.problems == refused.value.problems
    assert reading.plan == read(HEADER, GOOD, OTHER).plan


CONTROLS = {
    "ESC": "\x1b[31mА",
    "BEL": "А\x07",
    "DEL": "А\x7f",
    "tab in front": "\tА",
    "tab inside": "А\tБ",
    "vertical tab": "А\vБ",
    "NEL": "А\x85Б",
    "CSI of C1": "А\x9b31mБ",
    "separator of lines": "А\u2028Б",
    "separator of paragraphs": "А\u2029Б",
    "override to the left": "А\u202eБ",
    "embedding": "\u202aА",
    "isolate": "А\u2067Б",
    "mark to the left": "А\u200f",
    "no width": "А\u200bБ",
    "mark of Unicode": "А\ufeffБ",
    "private use": "А\ue000Б",
}
FORMULAS = ["=cmd|'/C calc'!A0", "@SUM(1)", "+1+2", "-2+3", "-ООО А", " =1+1", "＝1+1", "＠А", '"=1+1"']


@pytest.mark.parametrize("text", CONTROLS.values(), ids=CONTROLS.keys())
@pytest.mark.parametrize("column", [4, 5])
def test_row_is_refused_when_a_text_would_act_on_a_terminal(text, column):
    """In a name or in a region; with --skip-bad the other rows are taken."""
    cells = OTHER.split(";")
    cells[column] = text
    with pytest.raises(
        RefusedRegistryFile, match=r"f\.csv:3: a control or an invisible character in a text"
    ) as refused:
        read(HEADER, GOOD, ";".join(cells))
    assert text not in str(refused.value)
    assert read(HEADER, GOOD, ";".join(cells), skip_bad=True).plan == read(HEADER, GOOD).plan


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("column", [4, 5])
def test_row_is_refused_when_a_spreadsheet_would_run_a_text(text, column):
    cells = OTHER.split(";")
    cells[column] = text
    with pytest.raises(RefusedRegistryFile, match=r"f\.csv:3: a text that a spreadsheet would run as a formula"):
        read(HEADER, GOOD, ";".join(cells))


@pytest.mark.parametrize("text", ["-", "--", " - ", "«=»", "«А-Б»", "А = Б", "а@б", "1+1=2", "'=1", '"-А"-Б'])
def test_row_is_taken_when_a_sign_starts_no_formula(text):
    cells = OTHER.split(";")
    cells[5] = text
    assert len(read(HEADER, GOOD, ";".join(cells)).plan.ranges) == 2


@pytest.mark.parametrize("text", ["ООО ?Т2 Мобайл?", "??? ??????", "А\ufffdБ"])
def test_row_is_refused_when_a_text_lost_characters(text):
    with pytest.raises(RefusedRegistryFile, match=r"f\.csv:3: a text that lost characters"):
        read(HEADER, GOOD, OTHER.replace('ООО "Скартел"', text))


@pytest.mark.parametrize("length", [512, 513])
def test_row_is_refused_when_a_text_is_too_long(length):
    row = OTHER.replace("г. Москва", "б" * length)
    if length == 512:
        assert len(read(HEADER, GOOD, row).plan.ranges) == 2
        return
    with pytest.raises(RefusedRegistryFile, match=r"f\.csv:3: a text of more than 512 characters"):
        read(HEADER, GOOD, row)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\n", "more than 33,554,432 bytes of content"), (b"900;0;9;", "more than 33,554,432 bytes of content")],
)
@pytest.mark.parametrize("compress", [gzip.compress, functools.partial(lzma.compress, preset=0)], ids=["gzip", "xz"])
def test_file_is_refused_when_it_holds_much_more_than_its_size(tmp_path, compress, content, says):
    """A hundredth of its content or less, which is never inflated further than the bound."""
    packed = compress(content * (34_000_000 // len(content)))
    assert len(packed) < 340_000
    (tmp_path / "plan").write_bytes(packed)
    with pytest.raises(BadRegistryFile, match=f"^plan: {says}$"):
        read_files([tmp_path / "plan"])


def test_file_is_refused_when_it_has_too_many_lines():
    with pytest.raises(BadRegistryFile, match=r"^f\.csv: more than 500,000 lines$"):
        read_registry([("f.csv", f"{HEADER}\n".encode() + b"\n" * 500_000)])


def test_refusal_repeats_no_cell():
    """Whoever imports a list of numbers by mistake does not find one of them in a log."""
    row = ";".join(["79161234567"] * 8)
    with pytest.raises(RefusedRegistryFile) as refused:
        read(HEADER, row, GOOD, f"901;79161234567;{row[12:]}", f"901;0;9;{row[24:]}", "901;0;9;10;А;x;y;7916123456789")
    assert "7916123" not in "".join(map(str, refused.value.problems)) + str(refused.value)


def test_overlap_names_the_other_file_when_it_is_another():
    sources = [("a.csv", f"{HEADER}\n{GOOD}".encode()), ("b.csv", f"{HEADER}\n{GOOD}\n{OTHER}".encode())]
    with pytest.raises(RefusedRegistryFile, match=re.escape("1 bad row: b.csv:2: the same range as a.csv:2")):
        read_registry(sources)
    assert len(read_registry(sources, skip_bad=True).plan.ranges) == 2


def test_problems_come_in_the_order_of_files_and_lines():
    bad = f"{HEADER}\n{GOOD}\n{GOOD}\n1\n".encode()
    reading = read_registry([("b.csv", bad), ("a.csv", bad)], skip_bad=True)
    places = [(one.source, one.line_number) for one in reading.problems]
    assert places == [("b.csv", 3), ("b.csv", 4), ("a.csv", 2), ("a.csv", 3), ("a.csv", 4)]


def test_rows_are_refused_even_if_bad_ones_are_skipped_when_none_is_left():
    with pytest.raises(RefusedRegistryFile):
        read(HEADER, "9", skip_bad=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b" \r\n\n", "the file is empty"),
        (HEADER.encode(), "there is no row in the file"),
        (f"{HEADER}\n;;;0;;;;\n".encode(), "there is no row in the file"),
        (b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>", "a web page, not a registry file"),
        (b"\xef\xbb\xbf\n <?xml version='1.0'?>", "a web page, not a registry file"),
        (b"PK\x03\x04\x14\x00\x06\x00", "binary data, not a text file"),
        (bytes(range(256)), "binary data, not a text file|neither UTF-8 nor for certain Russian"),
        (b"\x89\x98\xff\xd8", "neither UTF-8 nor for certain Russian"),
        (b"79161234567\n79161234568\n", "no known header, and no 6, 7 or 8 columns"),
        (b'{"error": "not found"}', "no known header, and no 6, 7 or 8 columns"),
        (b"900;" * 5000, "a line of more than 10,000 characters"),
    ],
)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_file_is_refused_when_it_is_no_registry_file(data, says, skip_bad):
    with pytest.raises(BadRegistryFile, match=rf"f\.csv.*({says})"):
        read_registry([("f.csv", data), ("good.csv", GOOD.encode())], skip_bad=skip_bad)


def test_nothing_is_refused_as_nothing():
    with pytest.raises(BadRegistryFile, match="no registry file was given"):
        read_registry([])


def test_file_is_refused_when_a_character_inside_of_it_is_damaged():
    """It is not taken for cp1251, which would garble every name."""
    data = f"{HEADER}\n{GOOD}\n{OTHER}\n".encode().replace("Скартел".encode(), "Скартел".encode()[:-1], 1)
    with pytest.raises(BadRegistryFile, match=r"f\.csv:3: a damaged character"):
        read_registry([("f.csv", data)])


def test_row_is_cut_when_the_file_ends_inside_a_character():
    data = f"{HEADER}\n{GOOD}\n901;0;9;10;А".encode()[:-1]
    reading = read_registry([("f.csv", data)], skip_bad=True)
    assert [(one.line_number, one.reason) for one in reading.problems] == [(3, Reason.CUT_ROW)]
    assert len(reading.plan.ranges) == 1


@pytest.mark.parametrize("kept", [9, 11])
def test_tax_id_is_cut_and_not_padded_when_the_file_ends_in_it(kept):
    tax_id = "774389528012"
    data = f"{HEADER}\n{OTHER}\n{GOOD[:-10]}{tax_id[:kept]}".encode()
    with pytest.raises(RefusedRegistryFile, match="the file ends inside this row"):
        read_registry([("f.csv", data)])
    assert read_registry([("f.csv", data + b"\n")]).plan.ranges[0].holder_key == f"inn:0{tax_id[:kept]}"


def test_row_is_cut_when_the_file_ends_after_an_open_quote():
    data = 'code,from,to,operator,region\n900,0,9,А,x\n900,10,19,"ООО ""А, Б'.encode()
    with pytest.raises(RefusedRegistryFile, match=r"f\.csv:3: the file ends after an open quote"):
        read_registry([("f.csv", data)])


def rows_like_the_last(content, count):
    """Line by line, a published file's first line and those that end in the same cell as one of its last rows."""
    first, *lines = [line for line in content.split(b"\n") if line and not line.startswith(b";")]
    ends = {line.rpartition(b";")[2] for line in lines[-count:]}
    return [first, *[line for line in lines if line.rpartition(b";")[2] in ends][-300:]]


@pytest.mark.parametrize(
    "name",
    [
        None,  # the bundled one: tax id last
        "DEF-9xx_2023-07-23.csv",  # tax id last, no territory
        "DEF-9kh_2021-03-30.csv",  # region last, no header
        "DEF-9x_2018-10-20_codes-900-955-999.csv",  # region last, cp1251
        "spreadsheet_2023-01-12.csv",  # region last, quoted
    ],
)
def test_file_reads_its_whole_rows_or_is_refused_when_it_is_cut(name, published):
    """At every byte of the last three rows. A region cut short shows because other rows have it whole."""
    lines = rows_like_the_last(bundled_source()[1] if name is None else published(name), 3)
    has_header = not lines[0].startswith(b"900")
    data, tail = b"\n".join(lines), b"\n".join(lines[-3:])
    ranges = read_registry([("f.csv", data)]).plan.ranges
    read_count = 0
    for cut in range(len(data) - len(tail), len(data) + 1):
        whole = data[:cut].count(b"\n") + (data[cut : cut + 1] in (b"", b"\n")) - has_header
        try:
            left = read_registry([("f.csv", data[:cut])]).plan.ranges
        except BadRegistryFile:
            continue
        assert left == ranges[:whole], f"cut {len(data) - cut} bytes before the end"
        read_count += 1
    assert read_count >= 6  # each of three rows with its line end and without


FILE = "\n".join([HEADER, GOOD, '901;0;9;10;"ООО ""А; Б""";x;y;7743895280', OTHER, ";;;462010;;;;"])
MUTATIONS = st.tuples(
    st.integers(0, 500), st.integers(0, 8), st.binary(max_size=4) | st.sampled_from([b";", b'"', b"\n"])
)


def mutate(data, mutations):
    for place, length, replacement in mutations:
        data = data[:place] + replacement + data[place + length :]
    return data


@given(
    data=st.binary() | st.text().map(str.encode) | st.text('0129;"\n,\tА').map(str.encode),
    skip_bad=st.booleans(),
)
@example(data=b"\xff\xfe\x00", skip_bad=True)
@example(data=b"\xff\xfe\x00\xd8\x00\x00", skip_bad=True)
@example(data=b";" * 7 + b"\n" + b'"', skip_bad=True)
def test_nothing_but_bad_registry_file_is_raised_whatever_the_bytes(data, skip_bad):
    with suppress(BadRegistryFile):
        read_registry([("f.csv", data)], skip_bad=skip_bad)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "utf-16"])
@given(mutations=st.lists(MUTATIONS, min_size=1, max_size=3), skip_bad=st.booleans())
def test_nothing_but_bad_registry_file_is_raised_when_a_file_is_damaged(encoding, mutations, skip_bad):
    try:
        plan = read_registry([("f.csv", mutate(FILE.encode(encoding), mutations))], skip_bad=skip_bad).plan
    except BadRegistryFile:
        return
    # Whatever is left has been checked by the plan itself: ordered, disjoint, inside of the country.
    assert plan.ranges
