"""The schema's history: each step that ever was, run by alembic when a store is opened that lacks it.

Invariant: a step runs in the transaction that opens the store, so that a crash leaves the schema before it or after it.
"""

from pathlib import Path

from sqlalchemy import Connection, String, column, inspect, select, table

from numcheck.errors import StoreDamaged, StoreMissing, StoreTooNew
from numcheck.store.engine import wait_for_migrations

HEAD = "0001"  # the newest step; a test holds it to the files in versions/
VERSION_TABLE = "alembic_version"
INSTALLATION = "installation"


def bring_up_to_date(connection: Connection, *, make: bool) -> None:
    """Run the steps that the store lacks. StoreTooNew if it has one that this numcheck does not know; StoreDamaged if
    its version is lost; StoreMissing if it is empty, or behind, and nothing is to be made."""
    if _version(connection) == HEAD:
        return
    if make:
        wait_for_migrations(connection)  # another node may be at it: then it is done by now
    version = _version(connection)
    if version == HEAD:
        return
    known = {path.stem.partition("_")[0] for path in (Path(__file__).parent / "versions").glob("[0-9]*.py")}
    if version is not None and version not in known:
        raise StoreTooNew(f"the store has schema {version}; this numcheck knows {HEAD}")
    if version is None and inspect(connection).has_table(INSTALLATION):
        raise StoreDamaged("the store does not say which schema it has")
    if not make:
        raise StoreMissing("the store is empty, or of an older numcheck; `numcheck serve` brings it up to date")
    _upgrade(connection)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    rows = connection.scalars(select(column("version_num", String)).select_from(table(VERSION_TABLE))).all()
    return str(rows[0]) if len(rows) == 1 else None


def _upgrade(connection: Connection) -> None:
    # Only here: whoever opens a store that is up to date need not wait for it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
