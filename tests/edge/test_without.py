"""A build without the native listener says so in a line and serves everything from the API listener."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAY_WHY = """
import sys
sys.modules["numcheck._edge"] = None
from numcheck.serving.check_listener import LACKING
print(LACKING)
"""


def test_serving_names_what_is_missing_when_the_extension_is() -> None:
    said = subprocess.run([sys.executable, "-c", SAY_WHY], check=True, capture_output=True, text=True).stdout
    assert "no native listener" in said
    assert said.count("\n") == 1


def test_building_leaves_the_native_listener_out_when_its_headers_are_missing(tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nsource=$(cat)\ncase "$source" in *nghttp2*) exit 1;; esac\nexit 0\n')
    compiler.chmod(0o755)
    code = "import preflight; print(preflight.native_listener_lacks())"
    environment = dict(os.environ, CC=str(compiler), PYTHONPATH=str(ROOT / "scripts"))
    said = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert said.stdout.count("\n") == 1
    assert "None" not in said.stdout
