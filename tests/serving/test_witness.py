"""The witness: a restored old copy and a rewritten history show by themselves, and nothing is handed out then."""

import json
import os
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from numcheck.config import Settings, load_settings
from numcheck.errors import BadConfiguration, DeliveryFailed, EventsAltered
from numcheck.offline.audit import verify_store, witnessed
from numcheck.registrations.events import head_fields, sign_head
from numcheck.serving.keys import write_keys
from numcheck.serving.sharing import Sharing
from numcheck.serving.witness import Witness, newest_head
from numcheck.store import Store
from numcheck.store.leases import NodeReport
from tests.registrations.world import KEYS, START, World, small


class Installation:
    """A data directory in which something happens, and its witness."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.data_dir, self.seed = data_dir, 0
        self.settings = Settings(data_dir=data_dir, **settings)

    def happen(self, *users: str) -> None:
        self.seed += 1
        world = World(self.data_dir, seed=self.seed)
        for user in users:
            world.register(small.ACTIVE, user)
        world.close()

    def look(self) -> bool | None:
        """Return what a node finds that starts now."""
        with Store(self.data_dir, read_only=True) as store:
            sharing = Sharing(store.leases(), "one", lambda: NodeReport("1.0", None))
            witness = Witness(store.events(), KEYS.signing_key, self.settings, sharing, now=lambda: START)
            try:
                witness.look()
            finally:
                witness.stop()
            return witness.agrees


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "heads.jsonl"


@pytest.fixture
def one(data_dir: Path, file: Path) -> Installation:
    write_keys(data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
    return Installation(data_dir, witness_file=file)


def sequences(file: Path) -> list[int]:
    return [json.loads(line)["sequence"] for line in file.read_text().splitlines()]


def test_heads_are_appended_as_something_happens(one: Installation, file: Path) -> None:
    assert one.look()
    one.happen("a")
    assert one.look()
    assert one.look()
    one.happen("b")
    assert one.look()
    first, second, third = sequences(file)
    assert 0 == first < second < third
    verified = verify_store(one.settings, witnessed(one.settings))
    assert verified.event_count == third


def test_a_restored_old_copy_shows_at_once(one: Installation, file: Path, tmp_path: Path) -> None:
    one.happen("a")
    copy = tmp_path / "copy"
    shutil.copytree(one.data_dir, copy)
    one.happen("b")
    assert one.look()
    before = file.read_bytes()
    old = Installation(copy, witness_file=file)
    old.seed = 10
    with capture_logs() as logs:
        assert old.look() is False
    assert [line["log_level"] for line in logs] == ["error"]
    with pytest.raises(EventsAltered):
        verify_store(old.settings, witnessed(old.settings))
    old.happen("c", "d", "e")  # it has gone on, and is longer than what the witness knows
    assert old.look() is False
    assert file.read_bytes() == before
    assert one.look()


def test_a_head_that_a_stranger_has_signed_shows(one: Installation, file: Path) -> None:
    one.happen("a")
    assert one.look()
    stranger = sign_head(Ed25519PrivateKey.from_private_bytes(bytes([7] * 32)), 1, bytes(32), 7)
    file.write_text(json.dumps(head_fields(stranger)) + "\n")
    assert one.look() is False


@pytest.mark.parametrize("garbage", ["half", "79161234567\n", '{"sequence": 1}\n', "[]\n", "\ufeff{\n", '"\\ud800"\n'])
def test_what_is_no_head_does_not_count_and_keeps_no_other_from_it(one: Installation, file: Path, garbage: str) -> None:
    """A crash leaves half a line, without its end: what follows has a line of its own."""
    one.happen("a")
    assert one.look()
    (first,) = sequences(file)
    line = file.read_text()
    file.write_text(line + (line[: len(line) // 2] if garbage == "half" else garbage))
    one.happen("b")
    assert one.look()
    newest = newest_head(file)
    assert newest is not None
    assert newest.sequence > first
    assert one.look()


def test_what_is_no_plain_file_is_no_witness(one: Installation, file: Path, tmp_path: Path) -> None:
    """The disk is somebody else's, who may put there what is never read to its end, or leads elsewhere."""
    for put in (os.mkfifo, lambda path: path.symlink_to(tmp_path / "elsewhere"), lambda path: path.mkdir()):
        put(file)
        for look in (one.look, lambda: witnessed(one.settings)):
            with pytest.raises((BadConfiguration, OSError)):
                look()
        file.rmdir() if file.is_dir() else file.unlink()
    assert not (tmp_path / "elsewhere").exists()


class Receiver(BaseHTTPRequestHandler):
    """Keeps heads, and answers as it is told to."""

    heads: list[dict[str, Any]]
    status: int

    def do_POST(self) -> None:
        head = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(type(self).status)
        self.end_headers()
        if type(self).status == 200:
            type(self).heads.append(head)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[type[Receiver], str]]:
    own = type("Own", (Receiver,), {"heads": [], "status": 200})
    server = HTTPServer(("127.0.0.1", 0), own)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield own, f"http://127.0.0.1:{server.server_port}/heads"
    server.shutdown()
    thread.join()
    server.server_close()


def test_heads_are_posted_and_a_conflict_is_a_disagreement(
    one: Installation, receiver: tuple[type[Receiver], str]
) -> None:
    kept, url = receiver
    posting = Installation(one.data_dir, witness_url=url)
    one.happen("a")
    assert posting.look()
    assert [head["public_key"] for head in kept.heads] == [KEYS.signing_key.public_key().public_bytes_raw().hex()]
    kept.status = 409
    assert posting.look() is False
    kept.status = 500
    with pytest.raises(DeliveryFailed):
        posting.look()


def test_a_witness_on_this_machine_is_never_reached_by_a_proxy(
    one: Installation, receiver: tuple[type[Receiver], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    one.happen("a")
    assert Installation(one.data_dir, witness_url=receiver[1], use_proxy=True).look()


@pytest.mark.parametrize("url", ["http://witness.example/heads", "ftp://127.0.0.1/heads", "heads", "https://"])
def test_a_witness_is_reached_over_https(url: str) -> None:
    with pytest.raises(BadConfiguration, match="witness_url"):
        load_settings(witness_url=url)


def test_of_two_nodes_one_hands_heads_out_and_the_other_once_that_has_left(one: Installation, file: Path) -> None:
    one.happen("first")
    with Store(one.data_dir) as store:
        leases = store.leases()
        leases.shared = True
        handed: dict[str, Witness] = {}
        nodes = {name: Sharing(leases, name, lambda: NodeReport("1.0", None)) for name in ("a", "b")}
        for name, sharing in nodes.items():
            handed[name] = Witness(store.events(), KEYS.signing_key, one.settings, sharing, now=lambda: START)
        nodes["a"].look()
        nodes["b"].look()
        handed["b"]._work()
        assert (file.exists(), handed["b"].agrees) == (False, None)
        handed["a"]._work()
        assert (newest_head(file) is not None, handed["a"].agrees) == (True, True)
        nodes["a"].stop()
        handed["a"]._work()
        nodes["b"].look()
        handed["b"]._work()
        assert [handed[name].agrees for name in "ab"] == [None, True]
        for witness in handed.values():
            witness.stop()
