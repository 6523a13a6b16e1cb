"""The TypeScript client, built by `make typescript`: its own tests, against a real node."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.serving import small
from tests.serving.command import ROOT, serving

BUILT = ROOT / "build/typescript"
REQUIRED = os.environ.get("NUMCHECK_TEST_STRANGERS") == "required"


@pytest.mark.skipif(not (BUILT / ".built").exists() and not REQUIRED, reason="it is not built (make typescript)")
def test_tests_of_the_typescript_client_pass(tmp_path: Path) -> None:
    with serving(small.fill(tmp_path)) as node:
        numbers = {"ACTIVE": str(small.ACTIVE), "INACTIVE": str(small.INACTIVE)}
        ended = subprocess.run(
            ["node", "--test", "dist/test/"],
            cwd=BUILT,
            env=os.environ | numbers | {"NUMCHECK_ADDRESS": node.address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout
    assert "# pass 8" in ended.stdout or "pass 8" in ended.stdout
