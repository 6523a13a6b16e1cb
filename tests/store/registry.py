"""Plans read from rows as the regulator writes them, in as few words as a test needs."""

from pathlib import Path

from numcheck.plan import NumberingPlan, read_registry

HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"


def row(code: int, first: int, last: int, operator: str, tax_id: str = "", region: str = "Тверь") -> str:
    """A range of one code."""
    return f"{code};{first};{last};{last - first + 1};{operator};{region};-;{tax_id}"


def content(*rows: str) -> bytes:
    """A registry file of these rows."""
    return "".join(f"{line}\n" for line in (HEADER, *rows)).encode()


def plan(*rows: str) -> NumberingPlan:
    """The plan of these rows."""
    return read_registry([("rows.csv", content(*rows))]).plan


def written(directory: Path, name: str, *rows: str) -> Path:
    """A registry file on disk."""
    path = directory / name
    path.write_bytes(content(*rows))
    return path
