"""Clients that nobody here wrote ask the native door; each is left out where it is not installed.

With NUMCHECK_TEST_STRANGERS=required, as `.ci/run` has it, one that is missing is a failure.

Looked for and not to be had from PyPI, npm or Debian: h2spec (a Go program, no package of that name anywhere), grpc's
interop clients and its bad-client suite (`grpcio-interop` is not on PyPI; grpc's own are built from its source alone).
tests/conformance follows what both of them test.
"""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import grpc
import pytest
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from peer import Doors, message

PATH = "/numcheck.v1.CheckService/CheckNumbers"
REQUEST = b"\x0a\x08" + (79_161_234_567).to_bytes(8, "little")
HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]


def leave_out(why: str) -> NoReturn:
    """Skip the test; fail where nothing may be missing."""
    if os.environ.get("NUMCHECK_TEST_STRANGERS") == "required":
        pytest.fail(why)
    pytest.skip(why)


def run(*command: str, cwd: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        leave_out(f"{command[0]} is not installed")
    return subprocess.run(
        command, cwd=cwd, timeout=100, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "request"
    path.write_bytes(message(REQUEST))
    return path


def test_h2load_gets_every_answer(doors: Doors, body: Path) -> None:
    said = run(
        "h2load", "-n", "5000", "-c", "4", "-m", "16", "-d", str(body), *HEADERS, f"http://{doors.native.address}{PATH}"
    )
    assert "5000 succeeded, 0 failed, 0 errored" in said


def test_curl_gets_the_answer_and_the_trailers(doors: Doors, body: Path, tmp_path: Path) -> None:
    answer, headers = tmp_path / "answer", tmp_path / "headers"
    run("curl", "-sS", "--http2-prior-knowledge", *HEADERS, "--data-binary", f"@{body}", "-o", str(answer),
        "-D", str(headers), f"http://{doors.native.address}{PATH}")  # fmt: skip
    table = doors.index.table
    assert answer.read_bytes() == message(table.check_numbers(REQUEST, numbers_per_call_max=1))
    assert "grpc-status: 0" in headers.read_text()


GRPC_JS = """
const grpc = require('@grpc/grpc-js');
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const same = (bytes) => bytes;
const path = '/numcheck.v1.CheckService/';
const request = Buffer.from(process.argv[3], 'hex');
client.makeUnaryRequest(path + 'CheckNumbers', same, same, request, (error, answer) => {
  console.log(error ? error.code : answer.toString('hex'));
  client.makeUnaryRequest(path + 'CheckNumbers', same, same, Buffer.from([7]), (refused) => {
    console.log(refused.code, refused.metadata.get('grpc-status-details-bin')[0].length > 20);
    const call = client.makeBidiStreamRequest(path + 'StreamCheckNumbers', same, same);
    let count = 0;
    call.on('data', () => { count += 1; });
    call.on('status', (status) => { console.log(count, status.code); client.close(); });
    for (let i = 0; i < 100; i += 1) call.write(request);
    call.end();
  });
});
"""


def test_grpc_js_gets_answers_errors_and_streams(doors: Doors, tmp_path: Path) -> None:
    (tmp_path / "client.js").write_text(GRPC_JS)
    try:
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "@grpc/grpc-js@1.14", cwd=tmp_path)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        leave_out("@grpc/grpc-js cannot be installed here")
    said = run("node", "client.js", doors.native.address, REQUEST.hex(), cwd=tmp_path)
    answer = doors.index.table.check_numbers(REQUEST, numbers_per_call_max=1)
    assert said.split("\n")[:3] == [answer.hex(), "3 true", "100 0"]


class AsBytes(CodecBase):
    """Messages as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: type[bytes]) -> bytes:
        return message

    def decode(self, data: bytes, message_type: type[bytes]) -> bytes:
        return data


async def ask_by_grpclib(address: str) -> tuple[bytes, list[bytes], GRPCError]:
    """The answer of a call, those of a stream, and a refusal. h2 watches over every frame that comes."""
    host, port = address.split(":")
    async with Channel(host, int(port), codec=AsBytes()) as channel:
        call = UnaryUnaryMethod(channel, PATH, bytes, bytes)
        answer = await call(REQUEST, timeout=10)
        streaming = StreamStreamMethod(channel, "/numcheck.v1.CheckService/StreamCheckNumbers", bytes, bytes)
        answers = await streaming([REQUEST] * 100, timeout=10)
        async with streaming.open(timeout=10) as cancelled:
            await cancelled.send_message(REQUEST)
            await cancelled.recv_message()
            await cancelled.cancel()
        with pytest.raises(GRPCError) as raised:
            await call(b"\x07", timeout=10)
        return answer, answers, raised.value


def test_grpclib_gets_answers_errors_and_streams(doors: Doors) -> None:
    answer, answers, refusal = asyncio.run(ask_by_grpclib(doors.native.address))
    expected = doors.index.table.check_numbers(REQUEST, numbers_per_call_max=1)
    assert answer == expected
    assert answers == [expected] * 100
    assert refusal.status is Status.INVALID_ARGUMENT


NGINX = """
daemon off; pid {directory}/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  upstream numcheck {{ server {native}; keepalive 4; }}
  server {{ listen 127.0.0.1:{port} http2; location / {{ grpc_pass grpc://numcheck; }} }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend front
  bind 127.0.0.1:{port} proto h2
  default_backend back
backend back
  server numcheck {native} proto h2
"""
IN_FLIGHT = 50
"""Calls at once through a proxy. haproxy lets in 100, and counts one that it has answered until it has tidied it away:
a client that keeps to 100 is now and then refused by it, twice over as grpcio tries again.
"""
PROXIES = {"nginx": (NGINX, ["-p", ".", "-c"]), "haproxy": (HAPROXY, ["-db", "-f"])}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def proxy(name: str, native: str, directory: Path) -> Iterator[str]:
    """The address of a proxy that stands before the native door."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if program is None:
        leave_out(f"{name} is not installed")
    text, arguments = PROXIES[name]
    config, port = directory / f"{name}.conf", free_port()
    config.write_text(text.format(directory=directory, native=native, port=port))
    process = subprocess.Popen([program, *arguments, str(config)], cwd=directory, stderr=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("name", PROXIES)
def test_answers_errors_and_streams_come_through_a_proxy(doors: Doors, tmp_path: Path, name: str) -> None:
    """nginx and haproxy have HTTP/2 of their own; grpcio asks them."""
    expected = doors.index.table.check_numbers(REQUEST, numbers_per_call_max=1)
    with proxy(name, doors.native.address, tmp_path) as address, grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(PATH)
        assert ask(REQUEST, timeout=20, wait_for_ready=True) == expected
        many = REQUEST[:1] + b"\x80\xf1\x04" + REQUEST[2:] * 10_000
        assert ask(many, timeout=20) == doors.index.table.check_numbers(many, numbers_per_call_max=10_000)
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"\x07", timeout=20)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        streaming = channel.stream_stream("/numcheck.v1.CheckService/StreamCheckNumbers")
        assert list(streaming(iter([REQUEST] * 50), timeout=20)) == [expected] * 50
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            assert set(pool.map(lambda _: ask(REQUEST, timeout=20), range(500))) == {expected}
