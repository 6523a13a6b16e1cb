"""Generates src/numcheck/v1 from proto/numcheck/v1: `make protos`.

Generated code refuses a runtime older than its generator, so it is generated with the oldest grpcio-tools that numcheck
runs with: 1.80.0, whose protoc is 31.1 (protobuf 6.31.1). The `test` extra pins that version;
tests/test_generated_protos.py regenerates with it and compares.
"""

import argparse
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

GENERATOR_VERSION = "1.80.0"
ROOT = Path(__file__).parent.parent


def generate(out_dir: Path) -> None:
    """Write the modules of every .proto file under out_dir, as numcheck/v1/*_pb2*."""
    protos = [str(path.relative_to(ROOT / "proto")) for path in sorted(ROOT.glob("proto/**/*.proto"))]
    outputs = [f"--{kind}_out={out_dir}" for kind in ("python", "pyi", "grpc_python")]
    protoc = [sys.executable, "-m", "grpc_tools.protoc"]
    subprocess.run([*protoc, "-Iproto", *outputs, *protos], cwd=ROOT, check=True)


def main() -> None:
    """Generate into src/, or into another directory."""
    parser = argparse.ArgumentParser(description="Generate the Python modules of the API's .proto files.")
    parser.add_argument("--out-dir", type=Path, default=ROOT / "src", help="default: src, as committed")
    out_dir = parser.parse_args().out_dir.resolve()
    installed = version("grpcio-tools")
    if installed != GENERATOR_VERSION:
        sys.exit(f"grpcio-tools {GENERATOR_VERSION} generates the committed modules; {installed} is installed")
    generate(out_dir)


if __name__ == "__main__":
    main()
