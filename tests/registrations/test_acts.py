"""Every act of administration is an event of the chain: who did what, and when; and none without it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, and_, create_engine, select, update

from numcheck.access import Caller, Role
from numcheck.active import PushHeader
from numcheck.config import Settings
from numcheck.errors import BadCaller, CallersRefused, EventsAltered, StoreDamaged, UnknownCaller
from numcheck.moments import microseconds
from numcheck.offline.audit import export, verify_events, verify_store
from numcheck.offline.rotation import drop_old_keys, rotate
from numcheck.registrations.events import Chain
from numcheck.serving.access import callers_of, installation_key
from numcheck.serving.keys import make_keys, read_keys, use_keys, write_keys
from numcheck.store import Store
from numcheck.store.acts import Act
from numcheck.store.schema import agreements, callers
from numcheck.store.store import FILE_NAME
from tests.registrations.test_bindings import others
from tests.registrations.world import KEYS, START, small
from tests.serving.command import run
from tests.store.registry import plan, row

BY = "numcheck://administrator/ivan"
MESSENGER = Caller("numcheck://messenger/chat", Role.MESSENGER, service="chat")


def told(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """The acts that the chain has, without the events of registrations, the data that there was and the macs."""
    acts = {act.value for act in Act} - {Act.DATA_BOUND}
    found = [(event.kind, json.loads(event.details)) for event in store.events().all() if event.kind in acts]
    for _, details in found:
        for name in ("mac", "macs", "mac_key_id"):
            details.pop(name, None)
    return found


@pytest.fixture
def store(data_dir: Path, url: str | None) -> Iterator[Store]:
    with Store(data_dir, url=url) as one:
        if url is not None:
            small.fill_store(one)
        use_keys(one, one.registrations(Chain(KEYS.keyring)), KEYS.keyring)
        yield one
        verify_events(one, KEYS, None)


def test_who_may_call_is_told_with_who_says_so(store: Store) -> None:
    """A caller added, given a token and revoked; an agreement made and ended; what changes nothing is no act."""
    callers = store.callers(bytes(32))
    (operator_id, *_) = (one.operator_id for one in store.operators())
    callers.add(MESSENGER, now=START, by=BY)
    callers.set_token(MESSENGER.uri, bytes(32), now=START, by=BY)
    for _ in range(2):
        callers.agree("chat", operator_id, now=START, by=BY)
    for _ in range(2):
        callers.end_agreement("chat", operator_id, now=START, by=BY)
    callers.revoke(MESSENGER.uri, now=START, by=BY)
    with pytest.raises(BadCaller):
        callers.add(MESSENGER, now=START, by=BY)
    with pytest.raises(UnknownCaller):
        callers.revoke(MESSENGER.uri, now=START, by=BY)
    agreement = {"by": BY, "service": "chat", "operator_id": operator_id}
    assert told(store) == [
        ("caller_added", {"by": BY, "uri": MESSENGER.uri, "role": "messenger", "operator_id": None, "service": "chat"}),
        ("token_issued", {"by": BY, "uri": MESSENGER.uri}),
        ("agreement_added", {**agreement, "identifications": False}),
        ("agreement_ended", agreement),
        ("caller_revoked", {"by": BY, "uri": MESSENGER.uri}),
    ]


def test_a_plan_and_a_push_that_is_confirmed_are_told(store: Store) -> None:
    imported = store.import_plan(plan(row(999, 0, 99, "Альфа")), source="a.csv", now=START, force=True, by=BY)
    (operator_id,) = (one.operator_id for one in store.operators() if one.display_name == "Альфа")
    now = datetime.now(UTC)
    for version, held in enumerate((False, True)):
        content = store.sets.push_content(operator_id)
        if held:
            content.remove_range(7_999_000_0000, 7_999_000_0099)
        else:
            content.add_range(7_999_000_0000, 7_999_000_0099)
        header = PushHeader(operator_id, snapshot=False, base_version=version, push_id=None, data_time=now)
        pushed = store.sets.push(header, content, base_version=version, token="held", now=now)
        assert pushed.held == held
    confirmed = store.sets.confirm_push(operator_id, "held", now=now, by=BY)
    imports, *others = told(store)
    assert imports == (
        "plan_imported",
        {
            "by": BY,
            "calling_code": 7,
            "data_time": None,
            "forced": True,
            "older_allowed": False,
            "recorded_since_us": microseconds(small.DATA_TIME),
            "revision": imported.revision,
            "series": ["9"],
            "source": "a.csv",
        },
    )
    data_time_us, first = microseconds(now), {"pushes_from": {f"1/{operator_id}": 1}, "operator_id": operator_id}
    whole = {"by": "local", "version": 1, "revision": 0, "data_time_us": data_time_us, "number_count": 100, **first}
    assert [kind for kind, _ in others] == ["push_applied", "push_held", "push_confirmed"]
    assert [details for _, details in others] == [
        whole | {"revision": imported.revision + 1},
        {"by": "local", "version": 0, "revision": 0, **first},
        whole | {"by": BY, "version": 2, "revision": confirmed.revision, "number_count": 0},
    ]


def test_a_rotation_of_keys_and_their_dropping_are_told(data_dir: Path) -> None:
    make_keys(data_dir / "keys.json", START)
    settings = Settings(data_dir=data_dir)
    rotate(settings, START)
    drop_old_keys(settings, START.replace(month=12))
    with Store(data_dir, read_only=True) as store:
        assert told(store) == [
            ("keys_rotated", {"by": "local", "key_id": 2}),
            ("keys_dropped", {"by": "local", "but": 2}),
        ]
    assert verify_store(settings, None).event_count == 3


def test_an_act_that_is_changed_or_removed_is_named(store: Store) -> None:
    """Who lets somebody in behind everybody's back cannot take the line away."""
    store.callers(bytes(32)).add(MESSENGER, now=START, by=BY)
    verify_events(store, KEYS, None)
    with store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE events SET details = replace(details, 'ivan', 'anna')")
    with pytest.raises(EventsAltered, match="is not what was written"):
        verify_events(store, KEYS, None)
    with store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE events SET details = replace(details, 'anna', 'ivan')")


EDITS = {
    "changed": "UPDATE callers SET revoked_at_us = NULL, mac = {old} WHERE uri = 'numcheck://messenger/chat'",
    "removed": "DELETE FROM callers WHERE uri = 'numcheck://messenger/chat'",
    "added": "INSERT INTO callers SELECT 'x', role, operator_id, service, NULL, 0, NULL, mac FROM callers",
    "an agreement ended": "DELETE FROM agreements",
    "an agreement changed": "UPDATE agreements SET mac = {old}",
}


@pytest.mark.parametrize("edit", EDITS)
def test_callers_that_are_not_what_the_acts_have_left_show(data_dir: Path, edit: str) -> None:
    """A saved row that lets in whom somebody has revoked, among them: its own mac is right."""
    with Store(data_dir) as store:
        use_keys(store, store.registrations(Chain(KEYS.keyring)), KEYS.keyring)
        callers = store.callers(bytes(32))
        callers.add(MESSENGER, now=START, by=BY)
        callers.agree("chat", store.operators()[0].operator_id, now=START, by=BY)
        (old,) = (mac for (what, _), mac in store.caller_macs().items() if what == "caller")
        callers.revoke(MESSENGER.uri, now=START, by=BY)
        verify_events(store, KEYS, None)
        with store._database.writing() as connection:
            connection.exec_driver_sql(EDITS[edit].format(old=f"X'{old.hex()}'"))
        with pytest.raises(EventsAltered, match="is not what the acts of administration have left"):
            verify_events(store, KEYS, None)


@pytest.mark.parametrize("table", [callers, agreements], ids=lambda table: table.name)
def test_every_column_of_a_caller_and_an_agreement_that_is_changed_shows(data_dir: Path, table: Table) -> None:
    """A little, or as another row has it; the mac as well."""
    write_keys(data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
    with Store(data_dir) as store:
        key = installation_key(store, data_dir)
        use_keys(store, store.registrations(Chain(KEYS.keyring)), KEYS.keyring)
        callers = callers_of(store, key)
        first, second, *_ = (one.operator_id for one in store.operators())
        callers.add(MESSENGER, now=START, by=BY)
        callers.add(Caller("numcheck://operator/a", Role.OPERATOR, operator_id=first), now=START, by=BY)
        callers.set_token(MESSENGER.uri, bytes(32), now=START, by=BY)
        callers.revoke("numcheck://operator/a", now=START, by=BY)
        callers.agree("chat", first, now=START, by=BY)
        callers.agree("other", second, now=START.replace(month=10), by=BY)
    settings = Settings(data_dir=data_dir)
    verify_store(settings, None)
    engine = create_engine(f"sqlite:///{data_dir / FILE_NAME}")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(table))]
        for column in table.c:
            values = [row[column.name] for row in rows]
            for row in rows:
                own = and_(*(one == row[one.name] for one in table.primary_key))
                for other in others(row[column.name], values):
                    taken = (column.primary_key or column.unique) and other in values
                    if taken or (other is None and not column.nullable):
                        continue
                    connection.execute(update(table).where(own).values({column.name: other}))
                    with pytest.raises((CallersRefused, EventsAltered, StoreDamaged)):
                        verify_store(settings, None)
                    changed = and_(*((row | {column.name: other})[one.name] == one for one in table.primary_key))
                    connection.execute(update(table).where(changed).values(row))
    engine.dispose()
    verify_store(settings, None)


def test_commands_on_a_data_directory_tell_what_they_do(data_dir: Path) -> None:
    """Before the first start as well: the keys are made then, and the export shows it."""
    uri = "numcheck://administrator/anna"
    added = run("callers", "add", uri, "--role", "administrator", "--data-dir", data_dir)
    assert added.status == 0, added.err
    assert "keys.json was made" in added.err
    lines = [json.loads(line) for line in export(Settings(data_dir=data_dir), START)]
    assert lines[0]["kind"] == "data_bound"
    assert (lines[1]["kind"], json.loads(lines[1]["details"])["uri"]) == ("caller_added", uri)
    with Store(data_dir, read_only=True) as store:
        assert verify_events(store, read_keys(data_dir / "keys.json"), None).event_count == 2
