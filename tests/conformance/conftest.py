"""Nodes that serve the small data directory, by either door, in processes of their own."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from numcheck.door.native_door import LACKING
from tests.conformance.http2 import Peer
from tests.serving.command import NUMCHECK, PLAIN, Node, serving
from tests.serving.small import fill


@contextmanager
def serving_by(door: str, directory: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Iterator[Node]:
    """A node whose calls the native door carries, or the plain one."""
    if door == "native" and LACKING is not None:
        pytest.skip(LACKING)
    command = (*(NUMCHECK if door == "native" else PLAIN), "serve")
    with serving(directory, *arguments, command=command, env=env) as one:
        yield one


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("conformance"))


@pytest.fixture(scope="session")
def nodes(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Node]]:
    """Gives the node of either door, which is started when it is asked for."""
    with ExitStack() as running:

        @cache
        def node_of(door: str) -> Node:
            directory = shutil.copytree(data_dir, tmp_path_factory.mktemp(door) / "var")
            return running.enter_context(serving_by(door, directory, env={"NUMCHECK_DRAIN_TIMEOUT_S": "2"}))

        yield node_of


@pytest.fixture(scope="session")
def node(nodes: Callable[[str], Node]) -> Node:
    """The node of the native door."""
    return nodes("native")


@pytest.fixture(scope="session")
def native(node: Node) -> str:
    """The address of the native door."""
    return node.address


@pytest.fixture(scope="session", params=["native", "plain"])
def either(request: pytest.FixtureRequest, nodes: Callable[[str], Node]) -> str:
    """The address of each door in turn."""
    return nodes(request.param).address


@pytest.fixture
def connect(native: str) -> Iterator[Callable[..., Peer]]:
    """Opens connections to the native door, as Peer has it."""
    with ExitStack() as stack:
        yield lambda *given: stack.enter_context(Peer(native, *given))


@pytest.fixture
def peer(connect: Callable[..., Peer]) -> Peer:
    """A connection to the native door."""
    return connect()
