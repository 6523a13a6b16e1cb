"""An operator is one operator, with one id, whatever the plan calls it: by tax id, else by folded name."""

from datetime import UTC, datetime

from numcheck.store import Store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ALPHA, BETA, GAMMA = "7740000076", "7701725181", "7812014560"


def imported(store: Store, *rows: str) -> dict[int, int]:
    """Import a plan; the operator id of each code."""
    store.import_plan(plan(*rows), source="a.csv", now=NOW, force=True)
    return {one.first // 10**7 % 1000: one.operator_id for one in store.ranges()}


def known(store: Store) -> list[tuple[int, str, str | None]]:
    return [(one.operator_id, one.display_name, one.tax_id) for one in store.operators()]


def test_new_operators_get_ids_from_1_the_largest_first(store):
    ids = imported(store, row(900, 0, 9, "А", ALPHA), row(901, 0, 99, "Б", BETA), row(902, 0, 999, "В", GAMMA))
    assert ids == {900: 3, 901: 2, 902: 1}


def test_id_stays_when_the_operator_is_renamed(store):
    imported(store, row(900, 0, 9, "Альфа", ALPHA))
    imported(store, row(900, 0, 9, "Омега", ALPHA), row(901, 0, 999, "Бета", BETA))
    assert known(store) == [(1, "Омега", ALPHA), (2, "Бета", BETA)]


def test_id_stays_when_the_name_alone_is_spelled_otherwise(store):
    imported(store, row(900, 0, 9, "ООО «Королёв  Связь»"))
    assert imported(store, row(900, 0, 9, 'ооо "КОРОЛЕВ Связь"')) == {900: 1}


def test_id_stays_when_a_plan_no_longer_names_the_operator(store):
    imported(store, row(900, 0, 9, "А", ALPHA), row(901, 0, 99, "Б", BETA))
    imported(store, row(902, 0, 9, "В", GAMMA))
    assert imported(store, row(900, 0, 9, "А", ALPHA), row(902, 0, 9, "В", GAMMA)) == {900: 2, 902: 3}
    assert [one.operator_id for one in store.operators()] == [1, 2, 3]


def test_operator_keeps_its_id_and_gets_its_tax_id_when_a_plan_tells_it(store):
    imported(store, row(900, 0, 9, "Альфа"))
    assert imported(store, row(900, 0, 9, "АЛЬФА", ALPHA)) == {900: 1}
    assert known(store) == [(1, "АЛЬФА", ALPHA)]
    assert imported(store, row(900, 0, 9, "Омега", ALPHA)) == {900: 1}


def test_name_alone_is_the_operator_with_a_tax_id_when_only_one_has_that_name(store):
    imported(store, row(900, 0, 9, "Альфа", ALPHA))
    assert imported(store, row(900, 0, 9, "альфа")) == {900: 1}
    assert known(store) == [(1, "альфа", ALPHA)]


def test_name_alone_is_known_by_every_spelling_there_was(store):
    imported(store, row(900, 0, 9, "Альфа", ALPHA))
    imported(store, row(900, 0, 9, "Омега", ALPHA))
    assert imported(store, row(900, 0, 9, "Альфа"), row(301, 0, 9, "Омега")) == {900: 1, 301: 1}


def test_two_tax_ids_are_two_operators_when_they_have_one_name(store):
    ids = imported(store, row(900, 0, 99, "Альфа", ALPHA), row(901, 0, 9, "Альфа", BETA))
    assert ids == {900: 1, 901: 2}
    assert imported(store, row(900, 0, 9, "Альфа", ALPHA), row(901, 0, 99, "Альфа", BETA)) == ids


def test_name_alone_is_an_operator_of_its_own_when_two_tax_ids_have_it(store):
    imported(store, row(900, 0, 99, "Альфа", ALPHA), row(901, 0, 9, "Альфа", BETA))
    assert imported(store, row(902, 0, 9, "Альфа")) == {902: 3}
    assert imported(store, row(902, 0, 9, "Альфа")) == {902: 3}
    assert known(store)[2] == (3, "Альфа", None)


def test_name_alone_is_an_operator_of_its_own_when_the_same_plan_has_two_tax_ids_with_it(store):
    """Whichever of them is the largest, and whether one of them was known before."""
    rows = row(900, 0, 99, "Альфа", ALPHA), row(901, 0, 9, "Альфа", BETA), row(902, 0, 9_999, "Альфа")
    imported(store, row(900, 0, 9, "Альфа", ALPHA))
    assert imported(store, *rows) == {900: 1, 901: 2, 902: 3}
    assert imported(store, *rows) == {900: 1, 901: 2, 902: 3}
    assert [tax_id for _, _, tax_id in known(store)] == [ALPHA, BETA, None]


def test_operator_without_tax_id_becomes_one_of_two_when_a_plan_gives_both_its_name(store):
    """The larger; the other is new."""
    imported(store, row(900, 0, 9, "Альфа"))
    assert imported(store, row(900, 0, 9, "Альфа", ALPHA), row(901, 0, 99, "Альфа", BETA)) == {900: 2, 901: 1}


def test_operator_is_the_same_when_another_series_names_it(store):
    ids = imported(store, row(900, 0, 9, "Альфа", ALPHA))
    assert imported(store, row(495, 0, 9, "Альфа-Фикс", ALPHA)) == {**ids, 495: ids[900]}
