"""A node that nobody asks sleeps: by how often its threads wake, which no machine's speed or load makes more."""

import sys
import time
from pathlib import Path

import grpc
import pytest

from numcheck.v1.check_pb2 import CheckNumbersRequest
from numcheck.v1.numbering_pb2 import ListHeldPushesRequest
from tests.serving.command import serving
from tests.serving.small import ACTIVE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it counts as Linux does")

CALLS = (
    ("/numcheck.v1.CheckService/CheckNumbers", CheckNumbersRequest(numbers=[ACTIVE])),
    ("/numcheck.v1.NumberingService/ListHeldPushes", ListHeldPushesRequest()),
)
CALL_COUNT = 500  # of each
WATCHED_S = 2.0
WAKES_A_SECOND_MAX = 100  # some 30, of 10 to 150 microseconds each


def wakes(pid: int) -> int:
    """How often the threads of a process went to sleep by themselves."""
    texts = ((task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for text in texts)


def test_node_hardly_wakes_when_nobody_asks_even_after_many_calls(data_dir: Path) -> None:
    """A poller that spins, as grpcio's was seen to after many calls, wakes thousands of times."""
    with serving(data_dir, "--threads", "2") as (address, process):
        with grpc.insecure_channel(address) as channel:
            for path, request in CALLS:
                call = channel.unary_unary(path, request_serializer=lambda one: one.SerializeToString())
                for answer in [call.future(request, timeout=60) for _ in range(CALL_COUNT)]:
                    answer.exception()
        before, began = wakes(process.pid), time.monotonic()
        time.sleep(WATCHED_S)
        assert (wakes(process.pid) - before) / (time.monotonic() - began) < WAKES_A_SECOND_MAX
