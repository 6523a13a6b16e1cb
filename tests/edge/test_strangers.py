"""Clients that nobody here wrote ask the native listener; each is left out where it is not installed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from peer import Doors, message

PATH = "/numcheck.v1.CheckService/CheckNumbers"
REQUEST = b"\x0a\x08" + (79_161_234_567).to_bytes(8, "little")
HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]


def run(*command: str, cwd: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
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
        pytest.skip("@grpc/grpc-js cannot be installed here")
    said = run("node", "client.js", doors.native.address, REQUEST.hex(), cwd=tmp_path)
    answer = doors.index.table.check_numbers(REQUEST, numbers_per_call_max=1)
    assert said.split("\n")[:3] == [answer.hex(), "3 true", "100 0"]
