"""What the pages show runs as it stands, against a real node, and answers what they say."""

import gzip
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from numcheck.config import load_settings
from numcheck.serving.checks import problems_of
from numcheck.store import Store
from tests.docs.pages import blocks, commands, commands_of, rows_of, run_shell, start_python, without_figures, words
from tests.serving import small
from tests.serving.command import PATIENCE_S, ROOT, Node, run, serving

NUMBERS = 5_000  # a demo of another size than that of `make run`: what the pages show holds for any


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo of the real plan."""
    data_dir = tmp_path_factory.mktemp("pages") / "var"
    assert run("demo", "--data-dir", data_dir, "--numbers", NUMBERS).status == 0
    return data_dir


@pytest.fixture(scope="module")
def node(demo: Path) -> Iterator[Node]:
    """A node as `make run` starts it, with codes on the console."""
    with serving(demo, env={"NUMCHECK_CODE_DELIVERY": "console"}) as one:
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
    (program,), (shown,) = blocks("README.md", "python"), blocks("README.md", "text")
    assert words(printed(program, node)) == words(shown)


def test_program_of_the_client_page_runs(node: Node) -> None:
    (program,), (shown,) = blocks("docs/client.md", "python"), blocks("docs/client.md", "text")
    assert words(printed(program, node)) == words(shown)


def test_messengers_first_session_asks_for_a_code_and_verifies(node: Node, tmp_path: Path) -> None:
    """All programs of the page; then its commands know both users."""
    first, second, third = blocks("docs/messengers.md", "python")
    shown, changed = [one for one in blocks("docs/messengers.md", "text") if "REGISTRATION_STATE" in one]
    assert words(type_code(first, node)) == words(shown)
    assert "u-1008 REGISTRATION_STATE_VERIFIED" in type_code(second, node)
    assert words(type_code(third, node)) == words(changed)
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


@pytest.mark.usefixtures("node")
def test_messengers_commands_about_users_and_accounts_run_as_they_stand(demo: Path, tmp_path: Path) -> None:
    """The page's own file of users is imported, in the form that it names; and a file of accounts is checked."""
    page = (ROOT / "docs/messengers.md").read_text()
    (users,) = blocks("docs/messengers.md", "csv")
    (tmp_path / "users.csv.gz").write_bytes(gzip.compress(users.encode()))
    (tmp_path / "accounts.csv").write_text("number,last_seen\n+79161234567,2025-12-01\n")
    indented = re.findall(r"^    (numcheck .+)$", page, re.MULTILINE)
    assert [command.split()[2] for command in indented] == ["import", "summary"]
    (check,) = re.findall(r"`(numcheck check [^`]+)`", page)
    others = re.findall(r"`(numcheck (?:registrations webhooks|config check|status))`", page)
    assert len(set(others)) == 3
    for command in (*indented, check, *sorted(set(others))):
        done = run_shell(command, tmp_path, {"NUMCHECK_DATA_DIR": str(demo)})
        assert done.status == 0, (command, done.err)
    assert (tmp_path / "checked.csv").read_text().count("\n") == 2
    export = "numcheck registrations export --service messenger out.jsonl"
    assert run_shell(export, tmp_path, {"NUMCHECK_DATA_DIR": str(demo)}).status == 0
    assert {"u-1", "u-2"} <= set(re.findall(r'"user_id": ?"([^"]+)"', (tmp_path / "out.jsonl").read_text()))


@pytest.mark.parametrize("shown", blocks("docs/messengers.md", "toml"), ids=lambda shown: shown.split("\n")[0])
def test_messengers_settings_are_those_of_a_node_that_serves(
    shown: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of settings of the page, beside the files with secrets that it names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numcheck.toml").write_text(shown)
    for name in re.findall(r'_file = "([^"]+)"', shown):
        (tmp_path / name).write_text("8 chars." if "password" in name else "a secret that is long enough")
    settings = load_settings(tmp_path / "numcheck.toml")
    assert problems_of(settings) == []
    if numbers := [f"+{number}" for number in settings.test_codes]:  # for whoever tries them out: with the real plan
        shown = run("check", "--local", "--data-dir", demo, *numbers)
        assert shown.out.count("UNALLOCATED") == len(numbers)


def test_the_numbers_of_the_messengers_example_are_in_service_in_a_demo_of_any_size(demo: Path) -> None:
    numbers = re.findall(r'default="(\+7[^"]+)"', (ROOT / "examples/messenger.py").read_text())
    shown = run("check", "--local", "--data-dir", demo, *numbers)
    assert shown.out.count("  ACTIVE  ") == len(numbers) == 3


# --- whoever pushes, over TLS as a caller that the node knows

CALLERS = {  # whose settings are whose: `operator.toml` on the page is each one's own
    "operator": ("numcheck://operator/mts", "operator"),
    "house": ("numcheck://clearing-house", "clearing-house"),
}


@pytest.fixture(scope="module")
def pushing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a node knows who pushes; each has their settings in it, as the operator's page shows them."""
    directory = tmp_path_factory.mktemp("pushing")
    small.fill(directory / "var")
    assert run("callers", "init", "callers", cwd=directory).status == 0
    with Store(directory / "var", read_only=True) as store:
        (operator_id,) = [one.operator_id for one in store.operators() if one.tax_id == small.MTS]
    for uri, role in CALLERS.values():
        add = ("add", uri, "--role", role, "--authority", "callers")
        whose = ("--operator-id", operator_id) if role == "operator" else ()
        assert run("callers", *add, *whose, cwd=directory).status == 0
    with serving(directory / "var", "--config", "callers/numcheck.toml", cwd=directory) as node:
        (shown,) = [one for one in blocks("docs/operators.md", "toml") if "client_key_file" in one]
        for name, (uri, _) in CALLERS.items():
            certificate = uri.removeprefix("numcheck://").replace("/", "-")
            settings = shown.replace("numcheck.example:50051", node.address).replace("operator-mts", certificate)
            settings = re.sub(r'"([\w-]+\.(?:pem|key))"', rf'"{directory}/callers/\1"', settings)
            (directory / f"{name}.toml").write_text(settings)
        yield directory


def told_by(command: str, answer: list[str], directory: Path, name: str = "operator") -> str:
    """Run a command of a page as somebody; what it told. It ends well, and tells what the page shows of it."""
    done = run_shell(f"{command} --config {name}.toml", directory)
    assert done.status == 0, (command, done.err)
    shown, _, _ = "\n".join(answer).partition(", as others were applied since")  # none was here
    assert without_figures(shown) in without_figures(done.out + done.err), command
    return done.out + done.err


def test_operators_session_runs_as_it_stands(pushing: Path) -> None:
    """With the settings of the page, in a folder that has the page's files; a push that removes much is confirmed."""
    numbers, changes = pushing / "numbers.txt", pushing / "changes.txt"
    numbers.write_text(next(one for one in blocks("docs/operators.md", "text") if one.startswith("79161234567")))
    changes.write_text("79160020000\n-79160000000\n")
    run_shell("sha256sum numbers.txt > numbers.txt.sha256 && sed -i 's/ .*//' numbers.txt.sha256", pushing)
    begun_at = time.time() - 3_600
    session = [one for one in commands("docs/operators.md") if "active" in one.command or "renew" in one.command]
    for moment, (command, answer) in enumerate(session):
        if not (answer and answer[0].startswith("pushed before")):
            for file in (numbers, changes):  # a file of another moment is another push
                os.utime(file, (begun_at + moment, begun_at + moment))
        told_by(command, answer, pushing)
    assert len(session) == 6
    numbers.write_text("79161234567\n")
    held = run_shell("numcheck push active --operator 7740000076 numbers.txt --config operator.toml", pushing)
    assert held.status == 1
    on_page = {words[2]: one.command for one in commands("docs/operators.md") if (words := one.command.split())}
    (command,) = re.findall(r"numcheck push confirm .*", held.err)
    assert command.split()[:-2] == on_page["confirm"].split()[:-2]  # but for the operator's id and the token
    assert command in told_by(on_page["held"], [], pushing)
    assert told_by(command, [], pushing).endswith("; 1 numbers\n")


def test_clearing_houses_session_runs_as_it_stands(pushing: Path) -> None:
    """Its files are made of the columns that its page has, by its rules; each is applied."""
    columns = {row[0]: row[-1].split(", ") for row in rows_of("docs/clearing-house.md", 3)[1:]}
    codes = {"mMTS": small.MTS, "mT2": small.T2}
    operators = [{"OrgCode": code, "TIN": tax_id, "OrgName": code} for code, tax_id in codes.items()]
    moved = {"OwnerId": "mT2", "RecipientId": "mT2", "RangeHolderId": "mMTS"}
    gone_home = {"Number": "9160000010", "OwnerId": "mMTS", "RangeHolderId": "mMTS"}
    dates = {"PortDate": "2026-08-18T10:00:00+03:00", "MNC": "01"}
    for kind, name, rows in (
        ("Operators", "Operators_202608190000_1", operators),
        ("Port_All", "Port_All_202608190000_1", [{**moved, "Number": f"91600000{place}"} for place in range(10, 30)]),
        ("Port_Increment", "Port_Increment_202608190200_1", [{**moved, "Number": "9160000030"}]),
        ("Return_Increment", "Return_Increment_202608190300_1", [gone_home]),
    ):
        lines = [[str({**row, **dates, "RowCount": len(rows)}.get(one, "")) for one in columns[kind]] for row in rows]
        text = "".join(f"{','.join(line)}\r\n" for line in [columns[kind], *lines])
        with ZipFile(pushing / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}.csv", text)
    session = [one for one in commands("docs/operators.md") if "push portings" in one.command]
    told = [told_by(*one, pushing, "house") for one in session]
    assert "Port_All_202608190000_1.zip: version 1: 20 added" in told[0]
    assert "Port_Increment_202608190200_1.zip: version 2: 1 added" in told[1]
    assert "Return_Increment_202608190300_1.zip: version 3: 0 added, 0 there already, 1 removed; 20 numbers" in told[1]


def test_clearing_houses_first_push_runs_as_it_stands(tmp_path: Path) -> None:
    """On a node of one's own: the page says to leave `--config` out there."""
    operators, portings = blocks("docs/clearing-house.md", "csv")
    (tmp_path / "Operators_202611280000_1.csv").write_text(operators)
    (tmp_path / "Port_All_202611280000_1.csv").write_text(portings)
    ((command, answer),) = commands("docs/clearing-house.md")
    with serving(small.fill(tmp_path / "var")) as node:
        done = run_shell(command.replace(" --config crdb.toml", f" --server {node.address}"), tmp_path)
    assert done.status == 0, done.err
    assert "\n".join(answer) in done.out + done.err


def test_administrators_session_runs_as_it_stands(pushing: Path) -> None:
    session = [one for one in commands("docs/operators.md") if "numcheck plan" in one.command]
    for day in ("12", "19"):
        (pushing / f"DEF-9xx_2026-08-{day}.csv").write_text(small.REGISTRY)
    told = [told_by(*one, pushing, "callers/numcheck") for one in session]
    assert len(session) == 3
    assert "9xx: data of 2026-08-19" in told[1]
    assert small.MTS in told[2]


def test_digest_program_agrees_with_the_node(pushing: Path) -> None:
    """What `status --digests` tells an operator of its own set, and of no other."""
    numbers = sorted(small.ACTIVE_NUMBERS[small.MTS])
    program = next(one for one in blocks("docs/format.md", "python") if "stdin" in one)
    (pushing / "digest.py").write_text(program)
    (pushing / "set.txt").write_text("".join(f"{number}\n" for number in numbers))
    told_by("numcheck push active --operator 7740000076 --confirm set.txt", [], pushing)
    computed = run_shell("python3 digest.py < set.txt", pushing)
    assert computed.status == 0, computed.err
    shown = run_shell("numcheck status --digests --config operator.toml", pushing)
    assert shown.status == 0, shown.err
    digests = [line[1] for line in words(shown.out) if line and re.fullmatch("[0-9a-f]{64}", line[-1])]
    assert digests == computed.out.split()


# --- auditors


def test_auditors_commands_run_as_they_stand(node: Node, demo: Path, tmp_path: Path) -> None:
    """Those of both tables, in the page's order: by the node, and then in its data directory."""
    rows = re.findall(r"^\| .*?`(numcheck events [^`]+)`", (ROOT / "docs/auditors.md").read_text(), re.MULTILINE)
    assert {"head", "export", "verify"} == {command.split()[2] for command in rows}
    assert sum("--server" in command or "--config" in command for command in rows) == 4
    (tmp_path / "auditor.toml").write_text(f'server = "{node.address}"\n')
    for command in rows:
        asked = command.replace("node.example:50051", node.address)
        done = run_shell(asked, tmp_path, {} if "--config" in command else {"NUMCHECK_DATA_DIR": str(demo)})
        assert done.status == 0, (command, done.err)


# --- all of them, in one story


def steps(page: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page, each with its language, in their order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def test_tutorial_runs_as_it_stands(node: Node, demo: Path, tmp_path: Path) -> None:
    """Each command in its order, the programs saved before it, the code typed that the node shows; figures differ."""
    saved: list[str] = []
    for language, block in steps("docs/tutorial.md"):
        if language == "python":
            saved.append(block)
        for command, answer in commands_of(block) if language == "console" else []:
            if ".venv/bin/python" in command:
                told = type_code(saved.pop(0), node)
            else:
                env = {"NUMCHECK_SERVER": node.address, "NUMCHECK_DATA_DIR": str(demo)}
                done = run_shell(command, tmp_path, env)
                assert done.status == 0, (command, done.err)
                told = done.out or "\n".join(done.err.splitlines()[-1:])  # how a push ended
            assert words(without_figures(told)) == words(without_figures("\n".join(answer))), command
    assert not saved
