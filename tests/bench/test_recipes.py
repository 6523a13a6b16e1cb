"""What docs/benchmarking.md has for other load generators, with those that are installed here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving.command import run, serving
from tests.serving.small import fill

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([os.environ["PATH"], *map(str, ROOT.glob("build/tools/buf-*/node_modules/.bin"))])
"""With buf, which `make tools` installs."""
PAGE = (ROOT / "docs/benchmarking.md").read_text().replace("\\\n", " ")
CALLS = 300
TOLD = {
    "h2load": rf"{CALLS} done, {CALLS} succeeded, 0 failed(?s:.)*status codes: {CALLS} 2xx",
    "grpcurl": r'"number": "79',
    "buf": r'"number": ?"79',
    "ghz": rf"\[OK\]\s+{CALLS} responses",
}
"""What each says when its calls were answered."""


def recipe_of(tool: str, address: str) -> str:
    """The page's line, about a node of the test's own, with fewer calls."""
    (line,) = re.findall(rf"^    ({tool} .+)$", PAGE, re.MULTILINE)
    return line.replace("127.0.0.1:50051", address).replace("100000", str(CALLS))


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with serving(fill(tmp_path_factory.mktemp("recipes") / "var")) as node:
        yield node


@pytest.mark.parametrize("tool", TOLD)
def test_recipe_is_answered(tool, node, tmp_path):
    """With the body, or the request, that `numcheck bench body` made as the page says."""
    if shutil.which(tool, path=PATH) is None:
        pytest.skip(f"{tool} is not installed")
    for made in re.findall(r"^    numcheck (bench body .+)$", PAGE, re.MULTILINE):
        arguments, _, file = made.partition(" > ")
        ended = run(*arguments.split(), cwd=tmp_path)
        assert ended.status == 0, ended.err
        if file:
            (tmp_path / file).write_text(ended.out)
    ended = subprocess.run(
        recipe_of(tool, node.address),
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert re.search(TOLD[tool], ended.stdout), ended.stdout
