"""`numcheck serve` as an operator meets it: ready, drained, refused, and repaired by itself."""

import resource
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from numcheck.config import Settings
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.errors import BadListenAddress
from numcheck.index import open_index
from numcheck.serving.publishing import index_directory
from numcheck.store import Store
from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2
from tests.api.streams import opened
from tests.serving.command import AS_MODULE, FREE_PORT, NUMCHECK, ROOT, run, serving
from tests.serving.small import ACTIVE

START_MAX_S = 3.0
SERVER_PY = (AS_MODULE[0], str(ROOT / "server.py"))


def status_of(node, number):
    with grpc.insecure_channel(node.address) as channel:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        return stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[number])).statuses[0]


def refused(*arguments, cwd=None):
    """The one line that a refused `numcheck serve` writes."""
    ended = run("serve", *arguments, cwd=cwd)
    assert ended.status == 1
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert line.startswith("numcheck: ")
    return line


@pytest.mark.parametrize(
    "command", [(*NUMCHECK, "serve"), (*AS_MODULE, "serve"), SERVER_PY], ids=["command", "-m", "server.py"]
)
def test_node_answers_when_its_ready_line_has_come(data_dir, command):
    """However it was started, on the port that the line names; SIGTERM ends it with 0."""
    with serving(data_dir, command=command) as node:
        assert status_of(node, ACTIVE) == number_pb2.NUMBER_STATUS_ACTIVE
        node.process.signal(signal.SIGTERM)
        assert node.process.wait() == 0


def test_node_ends_with_0_when_it_is_interrupted_from_the_keyboard(data_dir):
    with serving(data_dir) as node:
        node.process.signal(signal.SIGINT)
        assert node.process.wait() == 0
        assert not any("Traceback" in line for line in node.process.lines)


def test_node_says_that_its_data_is_synthetic(data_dir):
    with serving(data_dir) as node:
        assert "SYNTHETIC" in node.process.line_with("SYNTHETIC")


def test_node_starts_and_ends_within_seconds(data_dir):
    """Of processor time, so that a busy machine does not count."""
    before = processor_time_s()
    with serving(data_dir):
        pass
    assert processor_time_s() - before < START_MAX_S


def processor_time_s():
    """Of all processes that were started from this one and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_stream_under_way_gets_its_answers_when_the_node_is_stopped(data_dir):
    """After SIGTERM a request on an open stream is answered still; the node ends when the stream does, with 0."""
    with serving(data_dir) as node, grpc.insecure_channel(node.address) as channel, opened(channel) as stream:
        assert stream.ask(ACTIVE, request_id=1).request_id == 1
        node.process.signal(signal.SIGTERM)
        node.process.line_with("stopping")
        assert stream.ask(ACTIVE, request_id=2).request_id == 2
        stream.close()
        assert list(stream.call) == []
        assert stream.call.code() == grpc.StatusCode.OK
        assert node.process.wait() == 0


def test_stream_is_ended_when_it_outlasts_the_drain_timeout(data_dir, tmp_path):
    """A caller that never closes its side does not keep the node: its stream ends, and the node exits with 0."""
    config = tmp_path / "numcheck.toml"
    config.write_text("drain_timeout_s = 1")
    with (
        serving(data_dir, "--config", config) as node,
        grpc.insecure_channel(node.address) as channel,
        opened(channel) as stream,
    ):
        stream.ask(ACTIVE)
        node.process.signal(signal.SIGTERM)
        assert node.process.wait() == 0
        assert stream.call.code() != grpc.StatusCode.OK


def test_second_node_is_refused_when_the_port_is_taken(data_dir, small_dir, tmp_path):
    """Whoever holds it, a node or any other program; the first is not disturbed."""
    other = shutil.copytree(small_dir, tmp_path / "other")
    with serving(data_dir) as node:
        line = refused("--data-dir", other, *FREE_PORT, "--listen", node.address)
        assert line == f"numcheck: {node.address} cannot be listened on: address already in use"
        assert status_of(node, ACTIVE) == number_pb2.NUMBER_STATUS_ACTIVE


def test_second_process_is_refused_when_the_data_directory_is_in_use(data_dir):
    """Another node, and whatever else would write; the first is not disturbed."""
    with serving(data_dir) as node:
        assert "in use by another numcheck process" in refused("--data-dir", data_dir, *FREE_PORT)
        registry = data_dir.parent / "r.csv"
        registry.write_text("code;from;to;capacity;operator;region\n900;0;9;10;x;y\n")
        imported = run("plan", "import", registry, "--data-dir", data_dir)
        assert imported.status == 1
        assert f"importing over its API at {node.address}" in imported.err
        assert "PLAN_SHRINKS" in imported.err
        assert status_of(node, ACTIVE) == number_pb2.NUMBER_STATUS_ACTIVE


def test_non_loopback_address_is_refused_by_the_command(data_dir):
    line = refused("--data-dir", data_dir, "--listen", "0.0.0.0:0")
    assert "0.0.0.0 is not a loopback address" in line


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]", "[2001:db8::1]", "example.org", "0", "127.1", "*"])
def test_address_is_refused_when_it_is_not_loopback(host):
    """Plaintext stays on this machine; a name other than localhost is not even looked up."""
    with pytest.raises(BadListenAddress, match="is not a loopback address"):
        PlainDoor(Settings(listen=f"{host}:0"), [], Watches())


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":",
        ":0",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:٣",
        "unix:/tmp/x",
    ],
)
def test_address_is_refused_when_it_is_not_host_and_port(address):
    with pytest.raises(BadListenAddress, match="is not host:port"):
        PlainDoor(Settings(listen=address), [], Watches())


@pytest.mark.parametrize("address", ["::1:50051", "::1", "::1:0", "[::1:0", "::1]:0", "[127.0.0.1]:0", "[localhost]:0"])
def test_address_is_refused_with_the_right_form_when_its_brackets_are_wrong(address):
    with pytest.raises(BadListenAddress, match=r"stands in brackets, such as \[::1\]:50051"):
        PlainDoor(Settings(listen=address), [], Watches())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "[::1]"])
def test_address_is_taken_when_it_is_loopback(host):
    """Whichever of the machine's loopback addresses, and with the port that was free."""
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    listener = PlainDoor(Settings(listen=f"{host}:0"), [], Watches())
    listener.stop(0)
    assert listener.address.startswith(f"{host}:")
    assert not listener.address.endswith(":0")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_port_is_refused_in_our_own_words_when_another_program_has_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadListenAddress, match="address already in use"):
            PlainDoor(Settings(listen=f"127.0.0.1:{taken.getsockname()[1]}"), [], Watches())


def test_empty_directory_is_refused_and_stays_empty(tmp_path):
    """With what to do about it; a directory that is not there is not made."""
    for directory in (tmp_path / "empty", tmp_path / "missing"):
        if directory.name == "empty":
            directory.mkdir()
        line = refused("--data-dir", directory, *FREE_PORT)
        assert "holds no numbering plan" in line
        assert "numcheck demo" in line
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []


def pages_of(data_dir: Path) -> Path:
    (pages,) = (data_dir / "index").glob("pages-*")
    return pages


def remove_index(data_dir):
    shutil.rmtree(data_dir / "index")


def remove_pages(data_dir):
    pages_of(data_dir).unlink()


def flip_a_bit(data_dir):
    pages = pages_of(data_dir)
    content = bytearray(pages.read_bytes())
    content[len(content) // 2] ^= 1
    pages.write_bytes(content)


def cut_pages(data_dir):
    pages = pages_of(data_dir)
    pages.write_bytes(pages.read_bytes()[:-1])


def spoil_manifest(data_dir):
    manifest = data_dir / "index" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"pages", b"sages"))


@pytest.mark.parametrize("damage", [remove_index, remove_pages, flip_a_bit, cut_pages, spoil_manifest])
def test_index_is_rebuilt_with_a_line_that_says_so_when_it_cannot_be_used(data_dir, damage):
    """The answers are right, and what is published then has nothing to repair."""
    damage(data_dir)
    with serving(data_dir) as node:
        assert "the index was built anew: " in node.process.line_with("built anew")
        assert status_of(node, ACTIVE) == number_pb2.NUMBER_STATUS_ACTIVE
    with Store(data_dir, read_only=True) as store:
        assert open_index(index_directory(data_dir)).index_version == store.revision


def test_node_answers_from_a_changed_plan_when_it_starts_again(data_dir, tmp_path):
    """An import between two runs: the second run's index is of the store's revision."""
    registry = tmp_path / "mobile.csv"
    registry.write_text('code;from;to;capacity;operator;region\n916;0;9;10;ПАО "МТС";x\n')
    imported = run("plan", "import", registry, "--data-dir", data_dir, "--force")
    assert (imported.status, "replaces series 9xx" in imported.err) == (0, True)
    with serving(data_dir) as node:
        assert status_of(node, ACTIVE) == number_pb2.NUMBER_STATUS_UNALLOCATED
        assert status_of(node, 79160000009) == number_pb2.NUMBER_STATUS_ACTIVE


def test_client_with_as_many_calls_as_its_connection_may_have_is_never_refused(data_dir):
    """Also one that would make twice as many, of which it lets half wait."""
    asked = [check_pb2.CheckNumberRequest(number=f"+{ACTIVE}")] * 1_000
    with serving(data_dir) as node, grpc.insecure_channel(node.address) as channel, ThreadPoolExecutor(64) as callers:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        answers = list(callers.map(lambda one: stub.CheckNumber(one, timeout=60), asked))
    assert {one.status for one in answers} == {number_pb2.NUMBER_STATUS_ACTIVE}
