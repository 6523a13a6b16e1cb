"""A small data directory, made by hand: every kind of range, operators with data, with old data and with none."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from numcheck.plan import read_registry
from numcheck.serving.publishing import rebuild_index
from numcheck.store import DataDirLock, Store
from tests.active.sets import active_set_of

MTS, T2, VIMPELCOM, MTT, SCARTEL, ROSTELECOM = (
    *("7740000076", "7743895280", "7713076301"),
    *("7705017253", "7701725181", "7707049388"),
)
"""Operators by INN. SCARTEL has no data, that of VIMPELCOM is old, that of T2 synthetic; ROSTELECOM is fixed-line."""

DATA_TIME = datetime(2026, 8, 19, 12, tzinfo=UTC)
OLD_DATA_TIME = datetime(2026, 1, 1, tzinfo=UTC)

REGISTRY = f"""\
АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН
301;2110000;2119999;10000;ПАО "Ростелеком";г. Улан-Удэ;Республика Бурятия;{ROSTELECOM}
495;1230000;1239999;10000;ПАО "Ростелеком";г. Москва;Город Москва;{ROSTELECOM}
900;0000000;0061999;62000;ООО "Т2 Мобайл";-;Краснодарский край;{T2}
903;0000000;0009999;10000;ПАО "ВымпелКом";г. Москва;Город Москва;{VIMPELCOM}
916;0000000;9999999;10000000;ПАО "МТС";г. Москва и Московская область;Город Москва, Московская область;{MTS}
930;0000000;0009999;10000;АО "МТТ";г. Москва;Город Москва;{MTT}
968;5430000;5430049;50;ООО "Т2 Мобайл";г. Москва;Город Москва;{T2}
968;5430050;5430099;50;ПАО "МТС";г. Москва;Город Москва;{MTS}
999;0000000;0099999;100000;ООО "Скартел";г. Москва;Город Москва;{SCARTEL}
"""

ACTIVE = 79161234567
INACTIVE = 79161234568
UNALLOCATED = 79301000000
UNKNOWN = 79990000000
OLD = 79030000001
NOT_MOBILE, NOT_MOBILE_EITHER = 74951234567, 73012110000
FOREIGN, TOO_LONG = 14155550100, 791612345678
SHARED_LAST_OF_T2, SHARED_FIRST_OF_MTS = 79685430049, 79685430050
CALLED_INVALID_BY_PHONENUMBERS = 79300000000

ACTIVE_NUMBERS: Mapping[str, Iterable[int]] = {
    MTS: [ACTIVE, *range(79160000000, 79160000010), SHARED_FIRST_OF_MTS],
    T2: [79000000000, SHARED_LAST_OF_T2],
    VIMPELCOM: [OLD],
    MTT: [CALLED_INVALID_BY_PHONENUMBERS],
}


def fill(data_dir: Path, url: str | None = None) -> Path:
    """Fill a data directory, or the database of a URL and the directory's index, with all of it; the directory."""
    with DataDirLock(data_dir), Store(data_dir, url=url) as store:
        fill_store(store)
        rebuild_index(store, data_dir)
    return data_dir


def fill_store(store: Store) -> None:
    """Fill an empty store with all of it."""
    plan = read_registry([("small.csv", REGISTRY.encode())]).plan
    store.import_plan(plan, source="small.csv", now=DATA_TIME)
    ids = {operator.tax_id: operator.operator_id for operator in store.operators()}
    for tax_id, numbers in ACTIVE_NUMBERS.items():
        store.sets.replace_active_set(
            ids[tax_id],
            active_set_of(numbers),
            data_time=OLD_DATA_TIME if tax_id == VIMPELCOM else DATA_TIME,
            now=DATA_TIME,
            synthetic=tax_id == T2,
        )
