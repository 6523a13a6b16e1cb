"""A real node, in its own process, on a real port, over a real store with a plan of two operators."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import grpc

from numcheck.v1 import check_pb2_grpc, numbering_pb2_grpc

PLAN = """АВС/ DEF;От;До;Емкость;Оператор;Регион;ИНН
916;0000000;0999999;1000000;"ПАО Первый";Москва;7740000076
916;1000000;9999999;9000000;"ООО Второй";Москва;7743895280
"""
FIRST = 79_160_000_000  # the first operator's first number; it has a million of them


def with_database(url: str | None) -> dict[str, str]:
    """The environment of a command whose store is at a URL, or in its data directory."""
    return os.environ | ({"NUMCHECK_DATABASE_URL": url} if url else {})


@dataclass
class Node:
    data_dir: Path
    process: "subprocess.Popen[str]"
    address: str
    channel: grpc.Channel

    def __post_init__(self) -> None:
        self.numbering = numbering_pb2_grpc.NumberingServiceStub(self.channel)
        self.check = check_pb2_grpc.CheckServiceStub(self.channel)

    def kill(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def start(data_dir: Path, url: str | None = None, *, listen: str = "127.0.0.1:0") -> Node:
    """A node that serves the store of a data directory, or of a URL."""
    command = [sys.executable, "-m", "numcheck", "serve", "--data-dir", str(data_dir), "--api-listen", listen]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=with_database(url)
    )
    assert process.stderr is not None
    for line in process.stderr:
        if ready := re.search(r"ready on (\S+)", line):
            return Node(data_dir, process, ready[1], grpc.insecure_channel(ready[1]))
    raise AssertionError("the node ended before it was ready")
