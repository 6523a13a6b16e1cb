"""Lists and audits read a standby while it is of use, and an index is built of it; what it lacks is never believed."""

import shutil
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from numcheck.config import load_settings
from numcheck.serving import replica as replicas
from numcheck.serving.publishing import index_directory, open_or_rebuild
from numcheck.serving.replica import Replica
from numcheck.store import Registrations
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.offline.test_backup import SERVICE, register
from tests.registrations.world import World, small
from tests.serving.command import serving
from tests.store.engines import Pair


def count(registrations: Registrations) -> int:
    return sum(1 for _ in registrations.every_registration())


def test_standby_is_read_while_it_is_of_use(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for what has to be of now while it is behind; not once it is far behind, another installation's, or away."""
    monkeypatch.setattr(replicas, "CATCH_UP_S", 0.1)
    url, other = pair.primary.new_database(), pair.primary.new_database()
    for one in (url, other):
        small.fill(tmp_path / "var", one)
    world = World(tmp_path / "var", url=url)

    def replica_at(standby_url: str) -> Replica:
        settings = load_settings(
            data_dir=tmp_path / "var", database_url=url, database_replica_url=pair.on_standby(standby_url)
        )
        return Replica(settings, world.store, world.registrations, world.chain)

    replica = replica_at(url)
    world.register(small.ACTIVE, "first")
    pair.wait_for_replay()
    assert replica.behind() is replica.caught_up() is world.registrations
    replica._look()
    assert replica.used
    assert replica.caught_up() is replica.behind() is not world.registrations
    with pair.paused():
        world.register(small.ACTIVE, "second")
        replica._look()
        assert (count(replica.behind()), count(replica.caught_up())) == (1, 2)
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(replicas, "BEHIND_MAX_S", 0.0)
            replica._look()
            assert not replica.used
        assert [line["problem"] for line in logs] == ["it is more than 0 s behind"]
        replica._look()
        assert replica.used
    pair.wait_for_replay()
    assert count(replica.caught_up()) == 2
    assert replica.caught_up() is replica.behind() is not world.registrations
    for stranger in (replica_at(other), replica_at(other.replace("numcheck_", "nobodys_"))):
        stranger._look()
        assert not stranger.used
        assert stranger.behind() is world.registrations
        stranger.stop()
    replica.stop()
    world.close()


def test_index_is_built_of_a_standby_that_has_all(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "CATCH_UP_S", 0.1)
    url = pair.primary.new_database()
    small.fill(tmp_path / "var", url)
    world, replica_url = World(tmp_path / "var", url=url), pair.on_standby(url)
    pair.wait_for_replay()

    def built_anew() -> tuple[str, int]:
        shutil.rmtree(index_directory(tmp_path / "var"))
        with capture_logs() as logs:
            index, _ = open_or_rebuild(world.store, tmp_path / "var", replica_url=replica_url)
        return str(logs[-1].get("problem", logs[-1]["event"])), index.index_version

    before = world.store.revision
    assert built_anew() == ("the index was built of the standby", before)
    with pair.paused():
        small.fill_store(world.store)
        assert built_anew() == ("it lacks what the store has", world.store.revision)
        assert world.store.revision > before
    pair.standby.stop()
    assert built_anew()[1] == world.store.revision
    pair.standby.start()
    world.close()


def test_a_nodes_lists_are_of_the_standby(pair: Pair, tmp_path: Path) -> None:
    url = pair.primary.new_database()
    env = {
        "NUMCHECK_DATABASE_URL": url,
        "NUMCHECK_DATABASE_REPLICA_URL": pair.on_standby(url),
        "NUMCHECK_VERIFICATION_METHODS": "operator",
    }
    small.fill(tmp_path / "var", url)
    pair.wait_for_replay()

    def listed(channel: grpc.Channel) -> list[str]:
        request = pb.ListRegistrationsRequest(service=SERVICE)
        answer = RegistrationServiceStub(channel).ListRegistrations(request, timeout=20)
        return [one.user_id for one in answer.registrations]

    with serving(tmp_path / "var", env=env) as node, grpc.insecure_channel(node.address) as channel:
        node.process.line_with("the standby of database_replica_url is read by lists and audits")
        register(node.address, "before")
        pair.wait_for_replay()
        assert listed(channel) == ["before"]
        with pair.paused():
            register(node.address, "after")
            assert listed(channel) == ["before"]
        pair.wait_for_replay()
        assert listed(channel) == ["before", "after"]
