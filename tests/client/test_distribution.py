"""The distribution numcheck-client: it has every module that the client needs and nothing of the server."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.serving import small
from tests.serving.command import ROOT, serving

CLIENT = ROOT / "packages/client"
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text())
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]


def test_the_clients_files_ask_a_node_where_nothing_else_of_numcheck_is(tmp_path: Path) -> None:
    """Texts of numbers included, though nothing is compiled there."""
    ignore = shutil.ignore_patterns("__pycache__")
    for source, place in FILES.items():
        target = tmp_path / "tree" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copy if (CLIENT / source).is_file() else shutil.copytree
        copy(CLIENT / source, target, **({} if copy is shutil.copy else {"ignore": ignore}))
    assert not list(tmp_path.rglob("*.so"))
    with serving(small.fill(tmp_path / "var")) as node:
        asked = subprocess.run(
            [sys.executable, Path(__file__).with_name("ask.py"), node.address, str(small.ACTIVE)],
            env=os.environ | {"PYTHONPATH": str(tmp_path / "tree"), "NUMCHECK_DATA_DIR": str(tmp_path / "var")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout == "the client alone asks by threads and by tasks\n"


def test_what_the_client_depends_on_is_what_the_server_does() -> None:
    """The same versions, so that both may be in one environment."""
    optional = PROJECT["project"]["optional-dependencies"]["regions"]
    assert {*PROJECT["project"]["dependencies"], *optional} <= set(WHOLE["project"]["dependencies"])
    assert PROJECT["project"]["requires-python"] == WHOLE["project"]["requires-python"]
    assert PROJECT["project"]["license"] == WHOLE["project"]["license"]


def test_clients_of_every_language_have_the_version_of_the_server() -> None:
    """That of Python takes it from the server's own file."""
    package = json.loads((ROOT / "clients/typescript/package.json").read_text())
    assert package["version"] == WHOLE["project"]["version"]
    assert (CLIENT / PROJECT["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "pyproject.toml"
