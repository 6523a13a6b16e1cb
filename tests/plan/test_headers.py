"""Every column that a header names is placed, or told; one that may be what no other column is refuses the file."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.errors import BadRegistryFile
from numcheck.plan import read_registry

COLUMNS = ("code", "first", "last", "capacity", "operator", "region", "territory", "tax_id")
ROWS = (
    ("900", "0000000", "0061999", "62000", 'ООО "Т2 Мобайл"', "-", "Краснодарский край", "7743895280"),
    ("900", "0062000", "0062999", "1000", 'ООО "Миранда-медиа"', "Ростовская обл.", "Ростовская область", "0702527584"),
)
EXPECTED = [
    (79000000000, 79000061999, "7743895280", 'ООО "Т2 Мобайл"', "Краснодарский край"),
    (79000062000, 79000062999, "0702527584", 'ООО "Миранда-медиа"', "Ростовская обл."),
]
WORDINGS = {
    "code": ["АВС/ DEF", "АВС/DEF", "Код ABC/DEF", "DEF", "DEF-код", "Код", "Код АВС или DEF", "AВC / DEF код", "CODE"],
    "first": ["От", "Д1", "от номера", "Начальный номер", "Номер с", "Oт", "From"],
    "last": ["До", "Д2", "до номера", "Конечный номер", "Номер по", "Дo", "to"],
    "capacity": ["Емкость", "Ёмкость", "Количество", "Кол-во номеров", "Ёмкость диапазона", "Eмкоcть", "capacity"],
    "operator": [
        *("Оператор", "Наименование оператора", "Оператор связи", "Название оператора связи", "ОПЕРАТОР", "Oператор"),
        *("Провайдер", "Полное наименование оператора", "Наименование организации", "Operator name"),
    ],
    "region": ["Регион", "Регион РФ", "Субъект РФ", "Наименование региона", "Peгиoн", "region"],
    "territory": ["Территория ГАР", "Территория", "Территория оказания услуг", "territory"],
    "tax_id": ["ИНН", "ИНН оператора", "ИНН оператора связи", "ИНН организации", "ИHН", "inn", "Tax ID"],
}
UNKNOWN = ["№", "Дата", "Примечание", "Технология", "Код региона", "Код оператора", "Тип номера"]


def read(header, rows=ROWS):
    text = "\n".join(";".join(cells) for cells in (header, *rows))
    return read_registry([("f.csv", text.encode())])


def found(reading):
    plan = reading.plan
    holders = [plan.holders[one.holder_key] for one in plan.ranges]
    return [
        (one.first, one.last, holder.tax_id, holder.name, one.region)
        for one, holder in zip(plan.ranges, holders, strict=True)
    ]


PLAIN = dict(
    zip(COLUMNS, ("АВС/ DEF", "От", "До", "Емкость", "Оператор", "Регион", "Территория ГАР", "ИНН"), strict=True)
)


@pytest.mark.parametrize(("column", "wording"), [(column, one) for column in WORDINGS for one in WORDINGS[column]])
def test_column_is_placed_whatever_a_header_calls_it(column, wording):
    reading = read(list({**PLAIN, column: wording}.values()))
    assert (found(reading), reading.notes) == (EXPECTED, ())


@given(
    wordings=st.tuples(*(st.sampled_from(WORDINGS[column]) for column in COLUMNS)),
    unknown=st.lists(st.sampled_from(UNKNOWN), max_size=3, unique=True),
    chance=st.randoms(use_true_random=False),
)
def test_columns_are_placed_in_any_order_and_the_others_told(wordings, unknown, chance):
    """Extra columns hold what would be another operator or region if they were taken for it."""
    header = [*wordings, *unknown]
    order = chance.sample(range(len(header)), len(header))
    rows = [[*row, *("77" for _ in unknown)] for row in ROWS]
    reading = read([header[place] for place in order], [[row[place] for place in order] for row in rows])
    assert found(reading) == EXPECTED
    told = "".join(note.detail for note in reading.notes)
    places = [order.index(len(COLUMNS) + place) + 1 for place in range(len(unknown))]
    assert sorted(re.findall(r"column \d+ \([^)]*\)", told)) == sorted(
        f"column {place} ({name})" for place, name in zip(places, unknown, strict=True)
    )


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"operator": "Код оператора"}, "uncertain whether column 5 (Код оператора) is the operator"),
        ({"operator": "Владелец ресурса"}, "uncertain whether column 5 (Владелец ресурса) is the operator"),
        ({"operator": "Примечание"}, "no column is the operator by the header"),
        ({"region": "Код региона"}, "uncertain whether column 6 (Код региона) is the region"),
        ({"tax_id": "ИНН/КПП"}, "uncertain whether column 8 (ИНН/КПП) is the tax id"),
        ({"territory": "Территориальный орган"}, "uncertain whether column 7 (Территориальный орган) is the territory"),
        ({"capacity": "Ёмк. (номеров)"}, "uncertain whether column 4 (Ёмк. (номеров)) is the capacity"),
        ({"territory": "Оператор связи"}, "two columns are the operator by the header"),
        ({"region": "От"}, "two columns are the first number by the header"),
        ({"code": "Зона"}, "no column is the code by the header"),
        ({"first": "Зона", "last": "Пояс"}, "no column is the first number, the last number by the header"),
        ({"tax_id": "ИНН 7743895280"}, "uncertain whether column 8 is the tax id"),  # told by its place alone
    ],
)
def test_header_that_leaves_a_column_uncertain_is_refused(header, says):
    with pytest.raises(BadRegistryFile, match=rf"^f\.csv:1: .*{re.escape(says)}$"):
        read(list({**PLAIN, **header}.values()))


def test_name_of_an_unknown_column_is_told_only_if_it_can_be_shown():
    rows = [(*row, "x", "y", "z") for row in ROWS]
    reading = read([*PLAIN.values(), "a\x1b[31mb", "79161234567x", "б" * 41], rows)
    assert [note.detail for note in reading.notes] == ["passed over: column 9, column 10, column 11"]


def test_names_stay_when_a_file_has_tax_ids_alone():
    columns = [COLUMNS.index(one) for one in ("code", "first", "last", "tax_id")]
    reading = read(
        [list(PLAIN.values())[place] for place in columns], [[row[place] for place in columns] for row in ROWS]
    )
    assert all(not holder.folded_names for holder in reading.plan.holders.values())
