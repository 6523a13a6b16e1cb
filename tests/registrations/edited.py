"""A store whose database somebody edits without the keys, and what `events verify` says of it."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, delete, insert, select, update

from numcheck.errors import EventsAltered
from numcheck.offline.audit import verify_events
from numcheck.serving.keys import write_keys
from numcheck.store import Store
from numcheck.store.store import FILE_NAME
from tests.registrations.world import KEYS


class Edited:
    """A store that is filled and closed, open to be verified; and an editor."""

    def __init__(self, data_dir: Path, url: str | None = None) -> None:
        self.data_dir = data_dir
        write_keys(data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
        self.store = Store(data_dir, url=url, read_only=True)
        engine_url = (
            f"sqlite:///{data_dir / FILE_NAME}" if url is None else url.replace("postgresql:", "postgresql+psycopg:", 1)
        )
        self._engine = create_engine(engine_url, isolation_level="AUTOCOMMIT")
        self.connection: Connection = self._engine.connect()

    def rows(self, table: Table) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in self.connection.execute(select(table).order_by(*table.primary_key))]

    def set(self, table: Table, row: dict[str, Any], **values: Any) -> None:
        self.connection.execute(update(table).where(*_is(table, row)).values(values))

    def remove(self, table: Table, row: dict[str, Any]) -> None:
        self.connection.execute(delete(table).where(*_is(table, row)))

    def add(self, table: Table, row: dict[str, Any]) -> None:
        self.connection.execute(insert(table).values(row))

    def problem(self) -> str:
        """What `verify` says is wrong; empty if nothing is."""
        try:
            verify_events(self.store, KEYS, None)
        except EventsAltered as error:
            return str(error)
        return ""

    def close(self) -> None:
        self.connection.close()
        self._engine.dispose()
        self.store.close()


def _is(table: Table, row: dict[str, Any]) -> list[Any]:
    return [column == row[column.name] for column in table.primary_key]
