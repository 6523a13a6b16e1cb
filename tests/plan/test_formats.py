"""Every form that a registry file comes in gives the same plan."""

import gzip
import lzma
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.errors import BadRegistryFile
from numcheck.plan import Country, Range, read_files, read_registry
from numcheck.plan.table import split_line

HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"
ROWS = (
    '900;0000000;0061999;62000;ООО "Т2 Мобайл";-;Краснодарский край;7743895280\n'
    '900;0062000;0062999;1000;ООО "Миранда-медиа";Ростовская обл.;Ростовская область;0702527584\n'
    '999;9600000;9999999;400000;ООО "Скартел";г. Москва;Город Москва, область;7701725181\n'
)
FILE = f"{HEADER}\n{ROWS}"
RANGES = (
    Range(79000000000, 79000061999, "inn:7743895280", "Краснодарский край"),
    Range(79000062000, 79000062999, "inn:0702527584", "Ростовская обл."),
    Range(79999600000, 79999999999, "inn:7701725181", "г. Москва"),
)


def ranges_of(text, encoding="utf-8", **options):
    data = text if isinstance(text, bytes) else text.encode(encoding)
    return read_registry([("f.csv", data)], **options).plan.ranges


def cells_of(line):
    return line.split(";")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251", "utf-16"])
def test_plan_is_the_same_whatever_the_encoding(encoding):
    assert ranges_of(FILE, encoding) == RANGES


def test_plan_is_the_same_when_utf16_is_big_endian():
    assert ranges_of(b"\xfe\xff" + FILE.encode("utf-16-be")) == RANGES


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", "\r\n \r\n"])
@pytest.mark.parametrize("final", [True, False])
def test_plan_is_the_same_whatever_the_line_ends(end, final):
    text = FILE.replace("\n", end)
    assert ranges_of(text if final else text.removesuffix(end)) == RANGES


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_plan_is_the_same_whatever_the_delimiter(delimiter):
    lines = [[f'"{cell}"' if delimiter in cell else cell for cell in cells_of(line)] for line in FILE.splitlines()]
    assert ranges_of("\n".join(delimiter.join(line) for line in lines) + "\n") == RANGES


def test_plan_is_the_same_when_every_cell_is_quoted():
    lines = [["".join(('"', cell.replace('"', '""'), '"')) for cell in cells_of(line)] for line in FILE.splitlines()]
    assert ranges_of("\n".join(";".join(line) for line in lines)) == RANGES


def test_plan_is_the_same_when_there_is_no_header():
    assert ranges_of(ROWS) == RANGES


def test_columns_are_found_by_position_when_the_header_is_unknown():
    reading = read_registry([("f.csv", f"eins;zwei;drei;vier;fünf;sechs;sieben;acht\n{ROWS}".encode())])
    assert reading.plan.ranges == RANGES
    assert [str(note) for note in reading.notes] == ["f.csv:1: unknown header; columns taken by their position"]


@given(order=st.permutations(range(8)))
def test_columns_are_found_in_any_order_when_the_header_names_them(order):
    lines = [";".join(cells_of(line)[place] for place in order) for line in FILE.splitlines()]
    assert ranges_of("\n".join(lines)) == RANGES


@pytest.mark.parametrize(
    "header",
    [
        "ABC/ DEF;Oт;Дo;Eмкоcть;Oпeрaтop;Peгиoн;Teppитopия ГAP;ИНH",  # Latin where they look alike
        "Код;Д1;Д2;Количество;Провайдер;Регион;Территория;ИНН",
        "code;from;to;capacity;operator;region;territory;inn",
        "DEF;FROM;TO;Capacity;Provider;Region;Territory;Tax ID",
        "авс/def; от ;до;ёмкость;оператор;регион;территория гар;инн",
        '"АВС/ DEF";"От";"До";"Емкость";"Оператор";"Регион";"Территория ГАР";"ИНН"',
    ],
)
def test_columns_are_found_whatever_the_header_calls_them(header):
    reading = read_registry([("f.csv", f"{header}\n{ROWS}".encode())])
    assert (reading.plan.ranges, reading.notes) == (RANGES, ())


def test_columns_that_no_row_needs_may_be_absent_when_the_header_says_so():
    text = "\n".join(";".join(cells_of(line)[place] for place in (0, 1, 2, 7)) for line in FILE.splitlines())
    plan = read_registry([("f.csv", text.encode())]).plan
    assert plan.ranges == tuple(one._replace(region="") for one in RANGES)
    assert plan.holders["inn:7743895280"].name == "7743895280"


def test_columns_that_are_unknown_are_passed_over():
    lines = FILE.splitlines()
    text = "\n".join([f"№;{lines[0]};Дата", *(f"1;{line};2026-08-19" for line in lines[1:])])
    assert ranges_of(text) == RANGES


def test_zeros_that_a_spreadsheet_lost_are_put_back():
    text = FILE.replace(";0000000;0061999;", ";0;61999;").replace(";0062000;0062999;", ";62000;62999;")
    assert ranges_of(text.replace(";0702527584", ";702527584")) == RANGES


def test_tax_id_of_a_person_gets_its_zero_back():
    text = FILE.replace(";0702527584", ";70252758401")
    assert ranges_of(text)[1].holder_key == "inn:070252758401"


def test_tax_id_is_taken_when_its_check_digits_are_wrong():
    assert ranges_of(FILE.replace("7743895280", "7743895289"))[0].holder_key == "inn:7743895289"


def test_codes_get_their_zero_back_when_the_country_has_such_codes():
    tiny = Country(
        calling_code=990, national_length=4, code_length=2, mobile_codes=range(50, 60), first_digits="05", name="Tiny"
    )
    plan = read_registry([("f.csv", b"code;from;to;operator\n1;0;9;A\n50;00;99;A\n")], country=tiny).plan
    assert [(one.first, one.last) for one in plan.ranges] == [(9900100, 9900109), (9905000, 9905099)]


def test_line_is_passed_over_when_it_has_delimiters_alone():
    reading = read_registry([("f.csv", f"{FILE};;;;;;;\n;;\n".encode())])
    assert (reading.plan.ranges, reading.notes) == (RANGES, ())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (";;;463000;;;;", "a line with the total of the rows above, 463,000, passed over"),
        ("Итого:;;;463000;;;;", "a line with the total of the rows above, 463,000, passed over"),
        (";;;463001", "a totals line, passed over; it says 463,001, the rows above have 463,000"),
        (";;;;по данным реестра;;;", "a line without a range, passed over"),
    ],
)
def test_line_without_range_is_noted(line, says):
    reading = read_registry([("f.csv", f"{FILE}{line}".encode())])
    assert (reading.plan.ranges, [note.detail for note in reading.notes]) == (RANGES, [says])


def test_surplus_cells_belong_to_the_region():
    text = FILE.replace("г. Москва;", "г. Москва; область;центр;")
    assert ranges_of(text)[2]._replace(region="") == RANGES[2]._replace(region="")
    assert ranges_of(text)[2].region == "г. Москва; область;центр"


def test_delimiters_at_the_end_are_no_cells_when_there_are_too_many():
    assert ranges_of(FILE.replace("7743895280\n", "7743895280;;\n")) == RANGES


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ('1;ООО "А";x', ["1", 'ООО "А"', "x"]),
        ('1;"ООО ""А""";x', ["1", 'ООО "А"', "x"]),
        ('1;"ООО ""А; Б""";x', ["1", 'ООО "А; Б"', "x"]),
        ('"А; Б";"x;y"', ["А; Б", "x;y"]),
        ('"А" ООО;x;"Б" ООО', ['"А" ООО', "x", '"Б" ООО']),  # no quoted cells: text follows the quote
        ('"А" и "Б";x', ['"А" и "Б"', "x"]),
        ('"А;x', ['"А', "x"]),
        ('"";"', ["", '"']),
        ('""";x"', ['";x']),
    ],
)
def test_quotes_are_taken_off_only_where_they_enclose_a_cell(line, cells):
    assert split_line(line, ";") == cells


@given(st.lists(st.text('a";'), min_size=1, max_size=6))
def test_cells_come_back_when_they_were_quoted(cells):
    line = ";".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in cells)
    assert split_line(line, ";") == cells


def test_name_is_the_one_with_the_most_numbers():
    text = FILE.replace("0702527584", "7743895280").replace("7701725181", "7743895280")
    holders = read_registry([("f.csv", text.encode())]).plan.holders
    assert holders["inn:7743895280"].name == 'ООО "Скартел"'
    assert holders["inn:7743895280"].folded_names == {"ооо скартел", "ооо т2 мобайл", "ооо миранда-медиа"}


def test_name_is_the_first_one_when_others_have_as_many_numbers():
    text = "900;0;9;10;Б;x;7743895280\n900;10;19;10;А;x;7743895280\n"
    assert read_registry([("f.csv", text.encode())]).plan.holders["inn:7743895280"].name == "Б"


def test_row_without_tax_id_is_that_of_its_name_when_another_file_tells_it():
    with_tax_id = "900;0;9;10;ООО «А»;x;7743895280\n".encode()
    without = 'От;До;Код;Оператор\n10;19;900;ооо "а"\n20;29;900;ООО Б\n'.encode()
    plan = read_registry([("without", without), ("with", with_tax_id)]).plan
    assert [one.holder_key for one in plan.ranges] == ["inn:7743895280", "inn:7743895280", "name:ооо б"]


def test_row_without_tax_id_has_its_name_as_key_when_two_tax_ids_go_with_it():
    text = "900;0;9;10;А;x;7743895280\n900;10;19;10;А;x;7701725181\n900;20;29;10;А;x;\n"
    assert ranges_of(text)[2].holder_key == "name:а"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_files_are_read_by_their_content_when_they_are_compressed(tmp_path, compress):
    (tmp_path / "plan").write_bytes(compress(FILE.encode()))
    assert read_files([tmp_path / "plan"]).plan.ranges == RANGES


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_file_is_refused_when_its_compressed_form_is_cut(tmp_path, compress):
    (tmp_path / "plan").write_bytes(compress(FILE.encode())[:-4])
    with pytest.raises(BadRegistryFile, match="plan: the compressed file is cut or damaged"):
        read_files([tmp_path / "plan"])


def test_file_is_refused_when_it_does_not_exist(tmp_path):
    with pytest.raises(BadRegistryFile, match="cannot be read"):
        read_files([tmp_path / "plan"])


def test_reading_takes_no_longer_a_row_when_there_are_more():
    """The processor takes 4 times as long for 4 times the rows if it is linear, 16 times if quadratic."""

    def cost_s(count: int) -> float:
        rows = (
            f'9{n // 1000:02};{n % 1000}000;{n % 1000}999;1000;ООО "{n % 500}";Область {n % 90}' for n in range(count)
        )
        data = "\n".join(rows).encode()
        start = time.process_time()
        read_registry([("f.csv", data)])
        return time.process_time() - start

    assert min(cost_s(26_000) for _ in range(3)) < 9 * min(cost_s(6_500) for _ in range(3))
