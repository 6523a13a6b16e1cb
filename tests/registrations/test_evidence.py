"""The evidence for one user: a stranger with the program of the docs and the public key verifies it, and every change
of it shows."""

import copy
import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from numcheck.config import Settings
from numcheck.errors import EventsAltered, UnknownRegistration
from numcheck.offline.evidence import evidence
from numcheck.offline.evidence_page import page_of
from numcheck.registrations.tree import root_and_paths
from numcheck.serving.keys import write_keys
from tests.registrations.world import KEYS, SERVICE, START, World, small
from tests.serving.command import run

ROOT = Path(__file__).parents[2]
PUBLIC_KEY = KEYS.signing_key.public_key().public_bytes_raw().hex()
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/auditors.md").read_text(), re.DOTALL)
(PROGRAM,) = [one for one in PROGRAMS if "numcheck evidence 1" in one]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Three users: one verified by their operator, one by a code, one erased."""
    data_dir = small.fill(tmp_path / "var")
    world = World(data_dir)
    world.register(small.ACTIVE, "u-1")
    world.register(small.INACTIVE, "u-2")
    world.register(small.ACTIVE, "u-3")
    world.registrar.delete(SERVICE, "u-3")
    address = world.registrar.get(SERVICE, "u-1").record.network_address
    world.registrar.refresh(SERVICE, "u-1", address, {"a": "b"})
    write_keys(data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
    world.close()
    return Settings(data_dir=data_dir)


def made(settings: Settings, user_id: str = "u-1", *, with_number: bool = False) -> dict[str, Any]:
    return evidence(settings, SERVICE, user_id, START, with_number=with_number)


def is_accepted(bundle: Any) -> bool:
    """Run the docs' program in this process, on a bundle in a file's place."""
    told: list[str] = []

    class File:
        load = staticmethod(lambda _file: copy.deepcopy(bundle))
        loads, dumps = json.loads, json.dumps

    program = PROGRAM.replace("import json\n", "").replace("open(sys.argv[1])", "None").replace("sys.argv[2]", "KEY")
    try:
        exec(compile(program, "docs", "exec"), {"json": File, "KEY": PUBLIC_KEY, "print": told.append})
    except Exception:
        return False
    assert told == [f"{len(bundle['events'])} events of {bundle['tree']['event_count']} are what was written"]
    return True


def changed(value: Any) -> Iterator[Any]:
    """Every value that differs in one place from this one."""
    if isinstance(value, dict):
        for name in value:
            yield from ({**value, name: other} for other in changed(value[name]))
            yield {other: value[other] for other in value if other != name}
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in changed(one))
            yield [*value[:place], *value[place + 1 :]]
    elif isinstance(value, str):
        yield value[:-1] + ("1" if value[-1:] != "1" else "2")
    else:
        yield 5 if value != 5 else 6


def test_a_stranger_verifies_it_with_the_program_of_the_docs(settings: Settings, tmp_path: Path) -> None:
    """As they would run it; and it is of forty lines."""
    assert len([line for line in PROGRAM.splitlines() if line]) <= 40
    file, program = tmp_path / "u-1.json", tmp_path / "program.py"
    page = tmp_path / "u-1.html"
    told = run(
        *("events", "evidence", "u-1", "--service", SERVICE, "--out", file, "--page", page),
        *("--data-dir", settings.data_dir),
    )
    assert (told.status, told.out, told.err) == (0, "", "")
    assert (file.stat().st_mode & 0o777, page.stat().st_mode & 0o777) == (0o600, 0o600)
    program.write_text(PROGRAM)
    ended = subprocess.run([sys.executable, program, file, PUBLIC_KEY], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"\d events of \d+ are what was written\n", ended.stdout)
    stranger = subprocess.run([sys.executable, program, file, "00" * 32], capture_output=True, text=True, check=False)
    assert stranger.returncode == 1
    inside = re.search(r'<script type="application/json" id="evidence">(.*?)</script>', page.read_text(), re.DOTALL)
    assert inside is not None
    assert json.loads(inside[1]) == json.loads(file.read_text())


def test_every_change_of_it_shows(settings: Settings) -> None:
    bundle = made(settings)
    assert is_accepted(bundle)
    others = list(changed(bundle))
    assert len(others) > 150
    assert [other for other in others if is_accepted(other)] == []


def test_an_event_that_is_not_in_the_chain_shows_even_if_the_rest_is_signed(settings: Settings) -> None:
    """The tree is what binds events, not the signature of the bundle alone."""
    bundle = made(settings)
    for name in ("previous_hash", "kind", "at_us"):
        other = copy.deepcopy(bundle)
        other["events"][0][name] = bundle["events"][1][name] if name != "at_us" else 7
        del other["signature"]
        plain = json.dumps(other, sort_keys=True, separators=(",", ":")).encode()
        other["signature"] = KEYS.signing_key.sign(b"numcheck evidence 1\0" + plain).hex()
        assert not is_accepted(other)


def test_it_says_what_was_confirmed_and_by_whose_data(settings: Settings) -> None:
    bundle = made(settings)
    (step,) = bundle["confirmed"]
    assert (step["operator_tax_id"], step["answer"]) == (small.MTS, "ACTIVE")
    assert step["step"]["method"] == "operator"
    assert step["event"] in [one["sequence"] for one in bundle["events"]]
    assert bundle["registration"]["state"] == "VERIFIED"
    kinds = [one["kind"] for one in bundle["events"]]
    assert kinds[0] == "registered"
    assert "refreshed" in kinds


def test_it_has_nothing_personal_but_what_was_asked_for(settings: Settings) -> None:
    """Neither the other users nor the address, the name and the number of this one."""
    number = str(small.ACTIVE)
    bundle = made(settings)
    for text in (json.dumps(bundle, ensure_ascii=False), page_of(bundle)):
        assert "u-1" in text
        for secret in (number, number[1:], "u-2", "u-3", "203.0.113.7", "Иванов"):
            assert secret not in text
    with_number = made(settings, with_number=True)
    assert with_number["asked_for"] == {"user_id": "u-1", "number": f"+{number}"}
    assert {one["registration_id"] for one in with_number["events"]} == {bundle["registration"]["registration_id"]}


@pytest.mark.parametrize("user_id", ["u-3", "u-9", ""])
def test_who_is_not_there_has_none(settings: Settings, user_id: str) -> None:
    with pytest.raises(UnknownRegistration):
        made(settings, user_id)


def test_none_is_made_from_a_chain_that_was_edited(settings: Settings) -> None:
    with sqlite3.connect(settings.data_dir / "numcheck.db") as connection:
        connection.execute("UPDATE events SET at_us = at_us + 1 WHERE sequence = 2")
    with pytest.raises(EventsAltered, match="event 2"):
        made(settings)


def test_a_page_shows_marks_as_they_are(settings: Settings) -> None:
    bundle = made(settings)
    bundle["asked_for"]["user_id"] = "</script><b>&"
    page = page_of(bundle)
    assert "<b>" not in page
    assert "&lt;/script&gt;&lt;b&gt;&amp;" in page


# --- the tree


def naive(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashlib.sha256(b"\0" + hashes[0]).digest()
    left = 1
    while 2 * left < len(hashes):
        left *= 2
    return hashlib.sha256(b"\1" + naive(hashes[:left]) + naive(hashes[left:])).digest()


def test_the_tree_is_that_of_rfc_6962_and_every_path_leads_to_its_root() -> None:
    hashes = [hashlib.sha256(bytes([place])).digest() for place in range(40)]
    for count in range(len(hashes) + 1):
        root, paths = root_and_paths((one, True) for one in hashes[:count])
        assert root == naive(hashes[:count])
        assert len(paths) == count
        for one, path in zip(hashes, paths, strict=False):
            node = hashlib.sha256(b"\0" + one).digest()
            for is_left, beside in path:
                node = hashlib.sha256(b"\1" + (beside + node if is_left else node + beside)).digest()
            assert node == root
    assert [len(path) for path in root_and_paths((one, one == hashes[3]) for one in hashes)[1]] == [6]
