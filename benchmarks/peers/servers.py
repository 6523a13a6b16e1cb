"""The servers that are compared, each a process of its own on the first core, and what each is asked over."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.build import CannotBuild, grpc_server
from benchmarks.peers.load import PATH, Target
from benchmarks.peers.transports import Missing, Transport
from benchmarks.population import Population
from benchmarks.processes import free_port, pinned
from numcheck.door.native_door import LACKING
from numcheck.index import Index
from numcheck.serving.publishing import index_directory

PREFIX_SIZE = 5


@contextmanager
def numcheck(data_dir: Path, transport: Transport, sizes: dict[int, int]) -> Iterator[list[Target]]:
    """A node with one event loop."""
    if LACKING is not None:
        raise Missing(LACKING)
    address = f"127.0.0.1:{free_port()}"
    settings = [f"{name}={value}" for name, value in transport.node.items()]
    command = [
        "env",
        *settings,
        sys.executable,
        "-m",
        "numcheck",
        "serve",
        "--data-dir",
        str(data_dir),
        "--threads",
        "1",
    ]
    with pinned([*command, "--listen", address], address) as pid:
        yield [Target("native door", transport, f"{transport.scheme}://{address}", pid, sizes)]


@contextmanager
def grpc_cpp(index: Path | None, transport: Transport, sizes: dict[int, int]) -> Iterator[list[Target]]:
    """gRPC C++, with numcheck's kernel and index or with empty answers."""
    try:
        grpc_server()
    except CannotBuild as error:
        raise Missing(str(error)) from error
    address = f"127.0.0.1:{free_port()}"
    name = "gRPC C++, empty answers" if index is None else "gRPC C++, the same kernel"
    command = [sys.executable, "-m", "benchmarks.peers.grpc_cpp", address]
    command += [] if index is None else ["--index", str(index)]
    command += ["--tls", *transport.grpc_cpp] if transport.grpc_cpp else []
    with pinned(command, address) as pid:
        yield [Target(name, transport, f"{transport.scheme}://{address}", pid, sizes)]


@contextmanager
def nghttpd(answers: dict[int, bytes], transport: Transport) -> Iterator[list[Target]]:
    """nghttp2's own server, a file of the answer's size for each size of request: no lookup, no gRPC."""
    if shutil.which("nghttpd") is None:
        raise Missing("nghttpd is missing: apt install nghttp2-server")
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        for numbers, answer in answers.items():
            file = Path(f"{directory}/{numbers}{PATH}")
            file.parent.mkdir(parents=True)
            file.write_bytes(bytes(PREFIX_SIZE) + answer)
        command = ["nghttpd", *transport.nghttpd, "-n", "1", "-a", "127.0.0.1", "-d", directory, str(port)]
        command += transport.nghttpd_files
        with pinned(command, f"127.0.0.1:{port}") as pid:
            url = f"{transport.scheme}://127.0.0.1:{port}"
            yield [
                Target("nghttpd, a file", transport, f"{url}/{numbers}", pid, {numbers: PREFIX_SIZE + len(answer)})
                for numbers, answer in answers.items()
            ]


def assert_same_answers(target: Target, request: bytes, answer: bytes) -> None:
    """Ask once, by curl, and compare with what the kernel says: a peer that answers something else is no peer."""
    with tempfile.TemporaryDirectory() as directory:
        body, got = Path(directory, "body"), Path(directory, "got")
        body.write_bytes(request)
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command = ["curl", "-sS", *target.transport.curl, *headers, "--data-binary", f"@{body}", "-o", str(got)]
        subprocess.run([*command, target.url + PATH], check=True, timeout=60)
        assert got.read_bytes()[PREFIX_SIZE:] == answer, f"{target.name} answers something else"


def answers_of(index: Index, requests: dict[int, bytes]) -> dict[int, bytes]:
    """The kernel's own answers, by numbers a call."""
    return {
        numbers: index.table.check_numbers(request, numbers_per_call_max=numbers)
        for numbers, request in requests.items()
    }


def index_of(population: Population) -> Path:
    return index_directory(population.data_dir)
