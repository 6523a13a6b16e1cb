"""A follower is a node's half that looks up: the same answers, the same admission, and nothing else."""

import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from numcheck.client.channel import Security, open_channel
from numcheck.config import Settings
from numcheck.offline.authority import issue_client
from numcheck.serving.follower import Follower
from numcheck.v1 import caller_pb2, caller_pb2_grpc, check_pb2, check_pb2_grpc, edition_pb2_grpc, numbering_pb2
from numcheck.v1.numbering_pb2_grpc import NumberingServiceStub
from numcheck.v1.registration_pb2 import GetRegistrationRequest
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.access.calls import WATCH_EDITIONS, fill, reflect
from tests.access.node import ALPHA, BETA, CALLERS, FIRST, NOW, SecureNode, secure_node
from tests.api.calls import DEADLINE_S, refusal
from tests.serving import command, small
from tests.serving.editions import until

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
PAGE = Path(__file__).parents[2] / "docs/followers.md"
DENIED, UNKNOWN_CALLER = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


# --- over TLS: a node, a follower, and a follower of that one


class Chain:
    """A node, and two followers one behind the other."""

    def __init__(self, node: SecureNode, first: Follower, second: Follower) -> None:
        self.node, self.first, self.second = node, first, second

    def channel(self, name: str, follower: Follower) -> grpc.Channel:
        """A channel to a follower, of the client of this name; a connection of its own."""
        files = [self.node.directory / one for one in ("authority.pem", f"{name}.key", f"{name}.pem")]
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        address = follower._doors[0].address
        return grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)])

    def check(self, name: str, follower: Follower, **asked: Any) -> check_pb2.CheckNumbersResponse:
        with self.channel(name, follower) as channel:
            stub = check_pb2_grpc.CheckServiceStub(channel)
            return stub.CheckNumbers(check_pb2.CheckNumbersRequest(**asked), timeout=DEADLINE_S)


@contextmanager
def following(node: SecureNode, data_dir: Path, source: str) -> Iterator[Follower]:
    certificates = node.directory
    authority, certificate, key = (
        (certificates / one).read_bytes() for one in ("authority.pem", "follower.pem", "follower.key")
    )
    settings = Settings(
        data_dir=data_dir,
        listen="127.0.0.1:0",
        tls_certificate_file=certificates / "server.pem",
        tls_key_file=certificates / "server.key",
        tls_client_authority_file=certificates / "authority.pem",
        metrics_listen="127.0.0.1:0",
    )
    data_dir.mkdir()
    security = Security(authority, certificate, key)
    follower = Follower(settings, [source], lambda target: open_channel(target, security))
    try:
        follower.start()
        until(follower._published.try_get)
        yield follower
    finally:
        follower.stop()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    directory = tmp_path_factory.mktemp("chain")
    with ExitStack() as stack:
        node = stack.enter_context(secure_node(directory))
        for operator_id in (ALPHA, BETA):
            fill(node, operator_id)
        node.control.callers.agree("chat", ALPHA, now=NOW)
        node.control.directory.refresh()
        node.publish()
        listener = "native" if "native" in node.addresses else "api"
        first = stack.enter_context(following(node, directory / "first", node.addresses[listener]))
        second = stack.enter_context(following(node, directory / "second", first._doors[0].address))
        yield Chain(node, first, second)


def test_each_follower_of_a_chain_answers_each_caller_as_the_node_does(chain):
    """A messenger sees the data of operators with an agreement, everybody else nothing."""
    numbers = [FIRST, FIRST + 39, FIRST + 40, FIRST + 10_000_000, 5]
    for name in ("messenger", "other", "administrator"):
        with chain.node.channel(name) as channel:
            stub = check_pb2_grpc.CheckServiceStub(channel)
            answer = stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=numbers), timeout=DEADLINE_S)
        for follower in (chain.first, chain.second):
            wanted = answer.index_version
            until(lambda follower=follower, wanted=wanted: follower._published.get().index_version == wanted)
            assert chain.check(name, follower, numbers=numbers) == answer


@pytest.mark.parametrize("name", ["alpha", "house", "auditor", "follower"])
def test_follower_denies_whom_the_node_denies(chain, name):
    assert refusal(lambda: chain.check(name, chain.second, numbers=[FIRST])).reason == "NOT_PERMITTED"


@pytest.mark.parametrize("name", ["alpha", "house", "auditor", "messenger"])
def test_nobody_but_followers_and_administrators_gets_the_files(chain, name):
    """Of the node and of followers alike."""
    channels = chain.node.channel(name), chain.channel(name, chain.first)
    for channel in channels:
        with channel:
            watch = edition_pb2_grpc.EditionServiceStub(channel).WatchEditions
            assert refusal(lambda watch=watch: list(watch(WATCH_EDITIONS, timeout=DEADLINE_S))).code is DENIED


def test_caller_who_is_revoked_at_the_node_is_let_in_by_no_follower(chain):
    """Followers learn it without a new index; whom the node has not revoked goes on."""
    version = chain.second._published.get().index_version
    uri = CALLERS["other"].uri
    assert chain.check("other", chain.second, numbers=[FIRST]).statuses
    with chain.node.channel("administrator") as channel:
        stub = caller_pb2_grpc.CallerServiceStub(channel)
        stub.RevokeCaller(caller_pb2.RevokeCallerRequest(uri=uri), timeout=DEADLINE_S)
    revision = chain.node.control.directory.revision
    until(lambda: chain.second._callers.revision == revision)
    assert refusal(lambda: chain.check("other", chain.second, numbers=[FIRST])).code is UNKNOWN_CALLER
    assert chain.check("messenger", chain.second, numbers=[FIRST]).index_version == version


def test_token_lets_in_at_a_follower_until_another_is_issued(chain):
    with chain.node.channel("administrator") as channel:
        stub = caller_pb2_grpc.CallerServiceStub(channel)
        request = caller_pb2.IssueTokenRequest(uri=CALLERS["messenger"].uri)
        old, new = (stub.IssueToken(request, timeout=DEADLINE_S).token for _ in range(2))
    revision = chain.node.control.directory.revision
    until(lambda: chain.second._callers.revision == revision)
    # The certificate names nobody who is known: the token alone says who calls.
    issue_client(chain.node.directory, "gateway", "https://gateway.example.org", now=datetime.now(UTC))
    with chain.channel("gateway", chain.second) as channel:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        request = check_pb2.CheckNumbersRequest(numbers=[FIRST])
        shown = [("authorization", f"Bearer {new}")]
        assert stub.CheckNumbers(request, timeout=DEADLINE_S, metadata=shown).statuses
        shown = [("authorization", f"Bearer {old}")]
        told = refusal(lambda: stub.CheckNumbers(request, timeout=DEADLINE_S, metadata=shown))
        assert told.code is UNKNOWN_CALLER


# --- balancing over them


def asked_of(follower: Follower) -> int:
    """How many numbers a follower was asked about."""
    return sum(follower._asking_log.counts().values())


def assert_both_answer(chain: Chain, target: str) -> None:
    """Ask until each follower has answered something."""
    before = {follower: asked_of(follower) for follower in (chain.first, chain.second)}

    def have_answered() -> bool:
        ask(chain, target)
        return all(asked_of(follower) > count for follower, count in before.items())

    until(have_answered)


def ask(chain: Chain, target: str) -> None:
    """Ask a few times over a channel of its own, as our client opens it."""
    authority, key, certificate = (
        (chain.node.directory / one).read_bytes() for one in ("authority.pem", "messenger.key", "messenger.pem")
    )
    with open_channel(target, Security(authority, certificate, key)) as channel:
        check = check_pb2_grpc.CheckServiceStub(channel).CheckNumbers
        for _ in range(4):
            check(check_pb2.CheckNumbersRequest(numbers=[FIRST]), timeout=DEADLINE_S, wait_for_ready=True)


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_recipe_for_haproxy_balances_over_followers(chain, tmp_path):
    """The page's own configuration, with these followers in it; TLS and certificates go through it."""
    (recipe,) = re.findall(r"^```\n(defaults\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    lines = recipe.replace("bind :50051", f"bind {address}").splitlines()
    kept = [line for line in lines if not line.strip().startswith("server ")]
    for name, follower in (("f1", chain.first), ("f2", chain.second)):
        (line,) = (line for line in lines if line.strip().startswith(f"server {name} "))
        shown = re.sub(r"[\d.]+:50051", follower._doors[0].address, line)
        kept.append(shown.replace("port 9464", f"port {follower._listener.address.rpartition(':')[2]}"))
    (tmp_path / "haproxy.cfg").write_text("\n".join([*kept, ""]))
    command_line = [HAPROXY, "-db", "-f", str(tmp_path / "haproxy.cfg")]
    process = subprocess.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert_both_answer(chain, address)
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


# --- the command, in processes of its own


def check_of(channel: grpc.Channel, *numbers: int, wanted: int = 0) -> check_pb2.CheckNumbersResponse:
    request = check_pb2.CheckNumbersRequest(numbers=numbers, min_index_version=wanted)
    return check_pb2_grpc.CheckServiceStub(channel).CheckNumbers(request, timeout=DEADLINE_S)


def push(channel: grpc.Channel, *numbers: int) -> int:
    stub = NumberingServiceStub(channel)
    state = stub.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=1), timeout=DEADLINE_S)
    header = numbering_pb2.PushHeader(
        operator_id=1, mode=numbering_pb2.PUSH_MODE_DELTA, base_version=state.version, data_time=state.data_time
    )
    request = numbering_pb2.PushActiveNumbersRequest(header=header, add=numbers)
    return stub.PushActiveNumbers(iter([request]), timeout=DEADLINE_S).index_version


def awaited_check(channel: grpc.Channel, *numbers: int, wanted: int) -> list[int]:
    """Ask until a version is reached, as the refusal says."""
    while True:
        try:
            return list(check_of(channel, *numbers, wanted=wanted).statuses)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


FOLLOW = (*command.NUMCHECK, "follow")


def test_follow_serves_checks_from_another_nodes_editions(tmp_path):
    """A real node and a real follower: a push is seen with min_index_version, whatever is not a check is refused with
    what to ask instead, and a restart while the node is away goes on with what was there."""
    small.fill(tmp_path / "node")
    metrics = ("--metrics-listen", "127.0.0.1:0")
    with ExitStack() as stack:
        node = stack.enter_context(command.serving(tmp_path / "node"))
        follower = stack.enter_context(command.serving(tmp_path / "f", *metrics, node.address, command=FOLLOW))
        to_node, channel = (stack.enter_context(grpc.insecure_channel(one.address)) for one in (node, follower))
        number = 79160005555
        version = push(to_node, number)
        told = refusal(lambda: check_of(channel, number, wanted=version + 1))
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_BEHIND")
        assert awaited_check(channel, number, wanted=version) == list(check_of(to_node, number).statuses)
        _assert_only_checks(channel, node.address)
        _assert_told_of(tmp_path / "f", follower, node.address, version)
        both = stack.enter_context(open_channel(f"ipv4:{node.address},{follower.address}"))
        answered = [check_of(both, number) for _ in range(4)]
        node.process.signal(signal.SIGKILL)
        node.process.wait()
        # A client of several goes on with those that are there.
        assert [check_of(both, number) for _ in range(4)] == answered
        assert check_of(channel, number, small.ACTIVE).index_version == version
    with (
        command.serving(tmp_path / "f", node.address, command=FOLLOW) as again,
        grpc.insecure_channel(again.address) as channel,
    ):
        assert check_of(channel, number, small.ACTIVE).index_version == version
        again.process.line_with("a source was left")
        again.process.signal(signal.SIGTERM)
        assert again.process.wait() == 0
    told = command.run("follow", node.address, "--data-dir", tmp_path / "node")
    assert told.status == 1
    assert "a follower needs a data directory of its own" in told.err


def _assert_only_checks(channel: grpc.Channel, source: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "numcheck.v1.CheckService", "numcheck.v1.EditionService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError):
        health.Check(health_pb2.HealthCheckRequest(service="numcheck.v1.NumberingService"), timeout=DEADLINE_S)
    assert b"CheckService" in reflect("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(channel)
    told = refusal(
        lambda: RegistrationServiceStub(channel).GetRegistration(GetRegistrationRequest(), timeout=DEADLINE_S)
    )
    assert (told.code, told.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD")
    assert f"for anything else ask a node: it follows {source}" in told.message


def _assert_told_of(data_dir: Path, follower: command.Node, source: str, version: int) -> None:
    until(lambda: command.run("status", "--data-dir", data_dir, "--json").status == 0)
    status = command.run("status", "--data-dir", data_dir)
    assert f"version {version}" in status.out
    assert source in status.out
    line = follower.process.line_with("metrics ready on")
    url = line[line.index("http://") :].split('"')[0]
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        told = answer.read().decode()
    assert f"numcheck_index_version {version}.0" in told
    assert f'numcheck_source_followed{{source="{source}"}} 1.0' in told
    assert "numcheck_edition_age_seconds " in told
