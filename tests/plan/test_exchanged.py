"""Operators and places in each other's stead, in a plan that nothing is compared with: refused by what cells say."""

import pytest

from numcheck.errors import BadPlan
from numcheck.plan import RUSSIA, Allotment, Reason, RefusedRegistryFile, bundled_source, plan_of, read_registry
from numcheck.plan.exchanged import exchanged_fault
from numcheck.plan.text import read_text

HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"
PLACE = "a place where the operator's name is due: columns may be exchanged"
OPERATOR = "an operator where the place is due: columns may be exchanged"
DIGITS = "digits where the operator's name is due: columns may be exchanged"

PLACES = [
    *("г. Москва", "Город Санкт-Петербург, Ленинградская область", "МОСКВА", "Омская обл.", "Пермский край"),
    *("Республика Саха (Якутия)", "Чувашская Республика - Чувашия", "Респ. Алтай", "Карачаево-Черкессия", "Татарстан"),
    *("Ненецкий АО", "Ханты - Мансийский - Югра АО", "Еврейская автономная область", "Российская Федерация"),
    *("р-н Сургутский|Ханты - Мансийский - Югра АО", "Абзелиловский район * Белорецкий район", "пгт. Ува"),
    *("Чукотский автономный округ", "Корякский округ|Камчатский край", "\u00a0г.\u00a0Севастополь"),
]
OPERATORS = [
    *('ООО "Т2 Мобайл"', "ПАО «МЕГАФОН»", "АО КТТК", '"Скартел" ООО', "Общество с ограниченной ответственностью Связь"),
    *("ФГУП РСВО", "ИП Иванов И. И.", "ГБУ РК Крыммелиоводхоз", "Акционерное общество АТОМДАТА"),
    *('ГУП ДНР "РЕСПУБЛИКАНСКИЙ ОПЕРАТОР СВЯЗИ"', "ФГАОУ ВО ЮУРГУ", "Администрация Камского бассейна"),
]
NAMED_AFTER_PLACES = [
    *('ООО "Электронный город"', "АО Калужская область", 'АО "Республика Коми"', "Татарстан Телеком", "Гохран России"),
    *('ПАО "Завод, г.Екатеринбург"', "Областная клиническая больница № 3", "МИНЦИФРЫ РОССИИ", "Москва Связь"),
]


def read(*rows):
    return read_registry([("f.csv", "".join(f"{line}\n" for line in (HEADER, *rows)).encode())])


@pytest.mark.parametrize("text", PLACES)
def test_row_is_refused_when_its_operator_is_a_place(text):
    with pytest.raises(RefusedRegistryFile) as refused:
        read(f"900;0;9;10;{text};-;-;7743895280")
    assert [(one.line_number, one.reason, one.detail) for one in refused.value.problems] == [
        (2, Reason.EXCHANGED, PLACE)
    ]
    assert exchanged_fault("ООО А", text) is None


@pytest.mark.parametrize("text", OPERATORS)
def test_row_is_refused_when_its_place_is_an_operator(text):
    """In either of the columns for places; the operator's cell may be the hyphen that stands for nothing."""
    for places in (f"{text};-", f"-;{text}"):
        with pytest.raises(RefusedRegistryFile, match=OPERATOR):
            read(f"900;0;9;10;-;{places};7743895280")
    assert exchanged_fault(text, "г. Москва") is None


@pytest.mark.parametrize("text", NAMED_AFTER_PLACES)
def test_operator_is_taken_when_it_is_named_after_a_place_or_has_no_legal_form(text):
    assert read(f"900;0;9;10;{text};г. Москва;-;7743895280").plan.holders["inn:7743895280"].name == text


@pytest.mark.parametrize("text", ["7743895280", "7 743 895 280", "77-43"])
def test_row_is_refused_when_its_operator_is_digits(text):
    with pytest.raises(RefusedRegistryFile, match=DIGITS):
        read(f"900;0;9;10;{text};г. Москва;-;7743895280")


def real_rows():
    lines = read_text(*bundled_source()).lines
    return [line.split(";") for line in lines[1:]]


@pytest.mark.parametrize(("one", "other"), [(4, 5), (4, 6)], ids=["region", "territory"])
def test_rows_of_the_regulator_are_refused_each_when_operator_and_place_are_exchanged(one, other):
    """All but what says nothing: a hyphen, and an operator without a legal form."""
    rows = real_rows()[::50]
    for row in rows:
        row[one], row[other] = row[other], row[one]
    with pytest.raises(RefusedRegistryFile) as refused:
        read(*map(";".join, rows))
    assert {problem.reason for problem in refused.value.problems} == {Reason.EXCHANGED}
    assert len(refused.value.problems) == len(rows)


@pytest.mark.parametrize("column", [4, 7], ids=["operator", "tax id"])
def test_names_with_several_tax_ids_are_told_when_a_column_has_slipped_by_a_row(column):
    rows = real_rows()[:3000]
    cells = [row[column] for row in rows]
    for row, cell in zip(rows, cells[-1:] + cells[:-1], strict=True):
        row[column] = cell
    (note,) = read(*map(";".join, rows)).notes
    assert "an operator's name with another tax id than above" in note.detail
    assert "names stand with several" in note.detail


def test_row_of_a_program_is_refused_when_operator_and_place_are_exchanged():
    """Over the API as in a file; a tax id stands for the name of an operator that nobody names."""

    def plan(name, region):
        return plan_of(RUSSIA, {"9"}, [Allotment(79000000000, 79000000009, name, "7743895280", region)])

    assert plan("7743895280", "г. Москва").holders["inn:7743895280"].tax_id == "7743895280"
    for name, region, fault in [("г. Москва", "ООО А", PLACE), ("А", "ООО А", OPERATOR), ("7743", "", DIGITS)]:
        with pytest.raises(BadPlan, match=f"row 0 has {fault}"):
            plan(name, region)
