"""A node that serves the small data directory from both of its listeners, in a process of its own."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from numcheck.door.native_door import LACKING
from tests.conformance.http2 import Peer
from tests.serving.command import Node, serving
from tests.serving.small import fill

READY = re.compile(r"native listener ready on (\S+) ")


def native_address(node: Node) -> str:
    if LACKING is not None:
        pytest.skip(LACKING)
    ready = READY.search(node.process.line_with("native listener ready"))
    assert ready is not None
    return ready[1]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("conformance"))


@pytest.fixture(scope="session")
def node(data_dir: Path) -> Iterator[Node]:
    with serving(data_dir, env={"NUMCHECK_DRAIN_TIMEOUT_S": "2"}) as one:
        yield one


@pytest.fixture(scope="session")
def native(node: Node) -> str:
    """The address of the native listener."""
    return native_address(node)


@pytest.fixture(scope="session", params=["native", "API"])
def either(request: pytest.FixtureRequest, node: Node) -> str:
    """The address of each listener in turn."""
    return native_address(node) if request.param == "native" else node.address


@pytest.fixture
def connect(native: str) -> Iterator[Callable[..., Peer]]:
    """Opens connections to the native listener, as Peer has it."""
    with ExitStack() as stack:
        yield lambda *given: stack.enter_context(Peer(native, *given))


@pytest.fixture
def peer(connect: Callable[..., Peer]) -> Peer:
    """A connection to the native listener."""
    return connect()
