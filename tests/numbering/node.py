"""A real node, in its own process, on a real port, over a real store with a plan of two operators."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import grpc

from numcheck.v1 import check_pb2_grpc, numbering_pb2_grpc
from tests.serving.command import NUMCHECK, READY, Process, run

PLAN = """АВС/ DEF;От;До;Емкость;Оператор;Регион;ИНН
916;0000000;0999999;1000000;"ПАО Первый";Москва;7740000076
916;1000000;9999999;9000000;"ООО Второй";Москва;7743895280
"""
FIRST = 79_160_000_000  # the first operator's first number; it has a million of them


def with_database(url: str | None) -> dict[str, str]:
    """The environment of a command whose store is at a URL, or in its data directory."""
    return os.environ | ({"NUMCHECK_DATABASE_URL": url} if url else {})


def import_plan(data_dir: Path, file: Path, url: str | None = None) -> None:
    """Import the plan of two operators into a store."""
    file.write_text(PLAN, encoding="utf-8")
    assert run("plan", "import", file, "--data-dir", data_dir, env=with_database(url)).status == 0


@dataclass
class Node:
    data_dir: Path
    process: Process
    address: str
    channel: grpc.Channel

    def __post_init__(self) -> None:
        self.numbering = numbering_pb2_grpc.NumberingServiceStub(self.channel)
        self.check = check_pb2_grpc.CheckServiceStub(self.channel)

    def kill(self) -> None:
        self.channel.close()
        self.process.signal(signal.SIGKILL)
        self.process.wait()


def start(data_dir: Path, url: str | None = None, *, listen: str = "127.0.0.1:0") -> Node:
    """A node that serves the store of a data directory, or of a URL."""
    line = [*NUMCHECK, "serve", "--data-dir", str(data_dir), "--listen", listen]
    process = Process(line, with_database(url), None)
    ready = READY.match(process.line_with('"ready on '))
    assert ready is not None
    return Node(data_dir, process, ready[1], grpc.insecure_channel(ready[1]))
