"""A trigger, a rule or a view in the database acts in numcheck's place: it is named, not overlooked (R13)."""

import pytest

from numcheck.errors import StoreDamaged

PLANTED = {
    "sqlite": {
        "trigger": ["CREATE TRIGGER planted AFTER INSERT ON code_tries BEGIN DELETE FROM code_tries; END"],
        "view": ["CREATE VIEW planted AS SELECT * FROM callers"],
    },
    "postgresql": {
        "trigger": [
            "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
            "CREATE TRIGGER planted BEFORE INSERT ON code_tries FOR EACH ROW EXECUTE FUNCTION nothing()",
        ],
        "rule": ["CREATE RULE planted AS ON INSERT TO code_tries DO INSTEAD NOTHING"],
        "view": ["CREATE VIEW planted AS SELECT * FROM callers"],
    },
}


def test_store_as_it_was_made_has_none(store):
    store.checks().schema()


def test_what_acts_by_itself_is_named(store, engine):
    for kind, statements in PLANTED[engine].items():
        with store._database.writing() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        with pytest.raises(StoreDamaged, match=f"has a {kind}, planted, which numcheck did not make"):
            store.checks().schema()
        with store._database.writing() as connection:
            where = "" if kind == "view" or engine == "sqlite" else " ON code_tries"
            connection.exec_driver_sql(f"DROP {kind} planted{where}")
        store.checks().schema()
