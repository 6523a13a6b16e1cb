"""A build without the native door says so in a line, and grpcio carries every call."""

import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2
from tests.serving.command import ROOT, serving
from tests.serving.small import ACTIVE, fill

WITHOUT = 'import sys; sys.modules["numcheck._edge"] = None; '
SAY_WHY = "from numcheck.door.native_door import LACKING; print(LACKING)"
SERVE = "from numcheck.cli import main; main()"


def test_serving_names_what_is_missing_when_the_extension_is() -> None:
    command = [sys.executable, "-c", WITHOUT + SAY_WHY]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "no native door" in said
    assert said.count("\n") == 1


def test_node_says_why_and_answers_everything_when_the_extension_is_missing(tmp_path: Path) -> None:
    with serving(fill(tmp_path), command=(sys.executable, "-c", WITHOUT + SERVE, "serve")) as node:
        assert "libnghttp2-dev" in node.process.line_with("grpcio carries the calls")
        with grpc.insecure_channel(node.address) as channel:
            stub = check_pb2_grpc.CheckServiceStub(channel)
            answer = stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[ACTIVE]))
            assert answer.statuses == [number_pb2.NUMBER_STATUS_ACTIVE]
            assert stub.ListOperators(check_pb2.ListOperatorsRequest()).operators


def lacks(compiler: str) -> str:
    code = "import preflight; print(preflight.native_door_lacks())"
    environment = dict(os.environ, CC=compiler, PYTHONPATH=str(ROOT / "scripts"))
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("header", ["nghttp2/nghttp2.h", "zlib.h"])
def test_building_leaves_the_native_door_out_when_a_header_is_missing(tmp_path: Path, header: str) -> None:
    hidden = tmp_path / header
    hidden.parent.mkdir(exist_ok=True)
    hidden.write_text('#error "hidden"\n')
    said = lacks(f"{os.environ.get('CC', 'cc')} -I{tmp_path}")
    assert said.count("\n") == 1
    assert "None" not in said
