"""What the pages show runs as it stands, against a real node, and answers what they say."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from numcheck.store import Store
from tests.docs.pages import blocks, commands, run_shell, start_python, without_figures, words
from tests.serving import small
from tests.serving.command import PATIENCE_S, ROOT, Node, run, serving

NUMBERS = 5_000  # a demo of another size than that of `make run`: what the pages show holds for any


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node as `make run` starts it: the demo of the real plan, with codes on the console."""
    data_dir = tmp_path_factory.mktemp("pages") / "var"
    assert run("demo", "--data-dir", data_dir, "--numbers", NUMBERS).status == 0
    with serving(data_dir, env={"NUMCHECK_CODE_DELIVERY": "console"}) as one:
        yield one


def printed(program: str, node: Node) -> str:
    with start_python(program, node.address) as running:
        out, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, out
    return out


def type_code(program: str, node: Node) -> str:
    """Run a program that asks for a code, and type the one that the node shows meanwhile; what it printed."""
    seen = len(node.process.lines)
    with start_python(program, node.address) as running:
        code = re.search(r": (\d{6})$", node.process.line_with("code for the number", after=seen))
        assert code is not None
        out, _ = running.communicate(f"{code[1]}\n", timeout=PATIENCE_S)
    assert running.returncode == 0, out
    return out


def test_readme_shows_what_a_demo_of_any_size_answers(node: Node, tmp_path: Path) -> None:
    """The command and the table below it; `make run` names the same command."""
    ((command, answer),) = commands("README.md")
    done = run_shell(command, tmp_path, {"NUMCHECK_SERVER": node.address})
    assert (done.status, done.err) == (0, "")
    assert words(done.out) == words("\n".join(answer))
    assert f"$(BIN)/{command.removeprefix('.venv/bin/')}" in (ROOT / "Makefile").read_text()


def test_readmes_program_runs(node: Node) -> None:
    (program,) = blocks("README.md", "python")
    assert printed(program, node).startswith("[4, 2] [1, 0] ")


def test_messengers_first_session_asks_for_a_code_and_verifies(node: Node, tmp_path: Path) -> None:
    """Both programs of the page; then its commands know both users."""
    first, second = blocks("docs/messengers.md", "python")
    shown = next(one for one in blocks("docs/messengers.md", "text") if "REGISTRATION_STATE" in one)
    assert words(type_code(first, node)) == words(shown)
    assert "u-1008 REGISTRATION_STATE_VERIFIED" in type_code(second, node)
    named = re.findall(r"`(numcheck registrations \w+ --service messenger)`", (ROOT / "docs/messengers.md").read_text())
    told = {}
    for command in named:
        bounded = f"{command} --resume 0 --count 1" if "watch" in command else command
        done = run_shell(bounded, tmp_path, {"NUMCHECK_SERVER": node.address})
        assert done.status == 0, done.err
        told[command.split()[2]] = done.out
    assert [line[:1] + line[2:3] for line in words(told["list"])[1:]] == [
        ["u-1007", "VERIFIED"],
        ["u-1008", "VERIFIED"],
    ]
    assert set(told) == {"list", "due", "reverify", "watch"}


@pytest.fixture
def pushing(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A node over TLS with an operator whom it knows; the settings that the operator's page shows, as variables."""
    small.fill(tmp_path / "var")
    assert run("callers", "init", "callers", cwd=tmp_path).status == 0
    add = ("add", "numcheck://operator/mts", "--role", "operator", "--authority", "callers")
    with Store(tmp_path / "var", read_only=True) as store:
        (operator_id,) = [one.operator_id for one in store.operators() if one.tax_id == small.MTS]
    assert run("callers", *add, "--operator-id", operator_id, cwd=tmp_path).status == 0
    with serving(tmp_path / "var", "--config", "callers/numcheck.toml", cwd=tmp_path) as node:
        (tmp_path / "operator").mkdir()
        (settings,) = [one for one in blocks("docs/operators.md", "toml") if "client_key_file" in one]
        settings = settings.replace("numcheck.example:50051", node.address)
        settings = re.sub(r'"([\w-]+\.(?:pem|key))"', rf'"{tmp_path}/callers/\1"', settings)
        (tmp_path / "operator/operator.toml").write_text(settings)
        yield {"directory": str(tmp_path / "operator")}


def test_operators_session_runs_as_it_stands(pushing: dict[str, str]) -> None:
    """With the settings of the page, in a folder that has the page's files: each command up to those that need more."""
    directory = Path(pushing["directory"])
    numbers, changes = directory / "numbers.txt", directory / "changes.txt"
    numbers.write_text(next(one for one in blocks("docs/operators.md", "text") if one.startswith("79161234567")))
    changes.write_text("79160020000\n-79160000000\n")
    run_shell("sha256sum numbers.txt > numbers.txt.sha256 && sed -i 's/ .*//' numbers.txt.sha256", directory)
    told = []
    for moment, (command, answer) in enumerate(commands("docs/operators.md")):
        if "push confirm" in command or "push portings" in command:
            continue  # these need a held push's own token, and the clearing house's files
        if not (answer and answer[0].startswith("pushed before")):
            for file in (numbers, changes):  # a file of another moment is another push
                os.utime(file, (1_790_000_000 + moment, 1_790_000_000 + moment))
        done = run_shell(f"{command} --config operator.toml", directory)
        assert done.status == 0, (command, done.err)
        told.append(command)
        shown, _, _ = "\n".join(answer).partition(", as others were applied since")  # none was here
        assert without_figures(shown) in without_figures(done.out + done.err), command
    assert len(told) == 6


def test_digest_program_agrees_with_the_node(pushing: dict[str, str]) -> None:
    """What `status --digests` tells an operator of its own set, and of no other."""
    directory = Path(pushing["directory"])
    numbers = sorted(small.ACTIVE_NUMBERS[small.MTS])
    program = next(one for one in blocks("docs/format.md", "python") if "stdin" in one)
    (directory / "digest.py").write_text(program)
    (directory / "set.txt").write_text("".join(f"{number}\n" for number in numbers))
    computed = run_shell("python3 digest.py < set.txt", directory)
    assert computed.status == 0, computed.err
    shown = run_shell("numcheck status --digests --config operator.toml", directory)
    assert shown.status == 0, shown.err
    digests = [line[1] for line in words(shown.out) if line and re.fullmatch("[0-9a-f]{64}", line[-1])]
    assert digests == computed.out.split()
