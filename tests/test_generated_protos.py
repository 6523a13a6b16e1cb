"""The committed modules of src/numcheck/v1 are what the .proto files say, and run with the oldest runtime promised."""

import re
import runpy
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "src/numcheck/v1"
GENERATOR = runpy.run_path(str(ROOT / "scripts/generate_protos.py"))


def modules(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*_pb2*"))}


def floor(package: str) -> str:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (found,) = [match[1] for line in dependencies if (match := re.match(rf"{package}>=([0-9.]+)", line))]
    return found


def padded(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in f"{dotted}.0.0".split(".")[:3])


@pytest.mark.skipif(
    version("grpcio-tools") != GENERATOR["GENERATOR_VERSION"],
    reason="another grpcio-tools than the one that generates the committed modules is installed",
)
def test_committed_modules_are_regenerated_to_the_letter(tmp_path: Path) -> None:
    GENERATOR["generate"](tmp_path)
    assert modules(COMMITTED) == modules(tmp_path / "numcheck/v1"), "run: make protos"


def test_generated_modules_accept_the_oldest_grpcio_we_depend_on() -> None:
    found = re.findall(r"GRPC_GENERATED_VERSION = '([0-9.]+)'", "".join(modules(COMMITTED).values()))
    assert {padded(each) for each in found} == {padded(floor("grpcio"))}


def test_generated_modules_accept_the_oldest_protobuf_we_depend_on() -> None:
    found = re.findall(r"# Protobuf Python Version: ([0-9.]+)", "".join(modules(COMMITTED).values()))
    assert {padded(each) for each in found} == {padded(floor("protobuf"))}
