"""A real node over the small data directory, once a session, and an index to publish by hand."""

import grpc
import pytest

from numcheck.index import PublishedIndex, open_index
from numcheck.serving.publishing import index_directory
from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.serving.command import serving
from tests.serving.small import fill


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """The small data directory. Nobody may change it."""
    return fill(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def node(data_dir):
    """A process that serves it."""
    with serving(data_dir) as one:
        yield one


@pytest.fixture(scope="session")
def channel(node):
    """A connection to the node."""
    with grpc.insecure_channel(node.address) as one:
        yield one


@pytest.fixture(scope="session")
def stub(channel):
    """The node's CheckService."""
    return check_pb2_grpc.CheckServiceStub(channel)


@pytest.fixture(scope="session")
def operators(stub):
    """The installation's operators by INN."""
    return {one.tax_id: one for one in stub.ListOperators(check_pb2.ListOperatorsRequest()).operators}


@pytest.fixture
def index(data_dir):
    """The small directory's index."""
    return open_index(index_directory(data_dir))


@pytest.fixture
def published(index):
    """The same, published."""
    one = PublishedIndex()
    one.publish(index)
    return one
