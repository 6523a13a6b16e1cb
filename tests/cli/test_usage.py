"""What every command has in common: help with an example, exit statuses, one line for a refusal, settings."""

import json
import shutil
from importlib.metadata import version

import pytest

from tests.cli.commands import commands
from tests.serving.command import AS_MODULE, NUMCHECK, run
from tests.serving.small import fill

COMMANDS = [tuple(command.split()) for command in commands()]
WITHOUT_SETTINGS = [("config", "sample"), ("config", "schema"), ("bench", "body")]
WITHOUT_RESULT = [("serve",), ("follow",), ("registrations", "rotate-keys"), ("config", "sample"), ("config", "schema")]
WITHOUT_RESULT += [("callers", name) for name in ("init", "add", "agree", "end-agreement", "revoke", "confirm-restore")]
WITHOUT_RESULT += [("registrations", name) for name in ("delete", "export")] + [("withdrawn", "export")]
WITHOUT_RESULT += [("push", "reject")]
WITHOUT_RESULT += [("callers", "token")]  # prints the token, and nothing besides


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(command):
    """A line that can be copied: it begins as the command does."""
    ended = run(*command, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert "Example" in ended.out
    assert f"numcheck {' '.join(command)} " in " ".join(ended.out.split())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_the_same_options(command):
    """The data directory, a file of settings, and JSON where it prints a result."""
    told = run(*command, "--help").out.split()
    assert ({"--data-dir", "--config"} <= set(told)) == (command not in WITHOUT_SETTINGS)
    assert ("--json" in told) == (command not in WITHOUT_RESULT)


def test_version_is_the_packages():
    assert run("--version") == (0, f"numcheck {version('numcheck')}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell):
    """The script that `--show-completion` prints asks numcheck itself what may follow: it says each command."""
    complete = {"_NUMCHECK_COMPLETE": f"complete_{shell}", "COMP_WORDS": "numcheck config ", "COMP_CWORD": "2"}
    complete |= {"_TYPER_COMPLETE_ARGS": "numcheck config ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    ended = run(env=complete)
    assert ended.status == 0
    assert all(name in ended.out for name in ("check", "sample", "show"))


@pytest.mark.parametrize("command", [NUMCHECK, AS_MODULE], ids=["numcheck", "python -m numcheck"])
def test_help_lists_the_commands(command):
    """However the command is called; called with nothing, it says the same and fails as wrong usage."""
    helped = run("--help", command=command)
    assert helped.status == 0
    assert all(f" {name} " in helped.out for name in ("serve", "demo", "check", "status", "plan"))
    assert run(command=command).status == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("--frobnicate",),
        ("serve", "--threads", "0"),
        ("demo", "--numbers", "-1"),
        ("demo", "--seed", "x"),
        ("plan", "import"),
        ("plan", "import", "no-such-file.csv"),
        ("plan", "import", "."),
        ("plan", "diff", "only-one.csv"),
        ("check",),
        ("check", "+79161234567", "--file", "x.csv"),
        ("check", "+79161234567", "--out", "x.csv"),
        ("check", "--file", "x.csv", "--json"),
        ("status", "--config", "no-such-file.toml"),
        ("status", "--config", "."),
    ],
    ids=" ".join,
)
def test_exit_status_is_2_when_the_usage_is_wrong(tmp_path, arguments):
    """Nothing goes to standard output, nothing is written, and no traceback shows."""
    ended = run(*arguments, cwd=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert "Usage: numcheck" in ended.err
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "no store": (("status",), "there is no store in var"),
    "no plan": (("plan", "show"), "there is no store in var"),
    "no index": (("check", "--local", "1"), "there is no index in var/index"),
    "nothing to serve": (("serve",), "var holds no numbering plan"),
    "no node": (("check", "--server", "127.0.0.1:1", "1"), "no node answers at 127.0.0.1:1"),
    "no address": (("check", "--server", "not an address", "1"), "no node answers at not an address"),
    "a file for a directory": (("demo", "--data-dir", "file"), "file: not a directory"),
    "a file for a store": (("status", "--data-dir", "file"), "there is no store in file"),
    "a damaged store": (
        ("status", "--data-dir", "damaged"),
        "the store cannot be read or written: file is not a database",
    ),
    "a damaged store to serve": (("serve", "--data-dir", "damaged"), "the store cannot be read or written"),
    "not TOML": (("status", "--config", "file"), "file is not TOML: "),
    "not UTF-8": (("status", "--config", "binary"), "binary is not TOML: "),
    "an unknown setting": (("status", "--config", "unknown.toml"), "there is no setting thraeds"),
    "a setting of another type": (("status", "--config", "type.toml"), "api_threads: input should be a valid integer"),
    "two bad settings": (("status", "--config", "two.toml"), "drain_timeout_s: "),
}


@pytest.fixture
def messy(tmp_path):
    """A directory with all kinds of files that are not what they should be."""
    files = {
        "file": b"no TOML, no directory\n",
        "binary": b"\xff\xfe",
        "damaged/numcheck.db": b"not a database, at all" * 99,
        "unknown.toml": b"thraeds = 4\n",
        "type.toml": b'api_threads = "sixteen"\n',
        "two.toml": b"drain_timeout_s = 0\nthraeds = 4\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("case", REFUSED)
def test_exit_status_is_1_and_one_line_says_why_when_something_is_refused(messy, case):
    arguments, reason = REFUSED[case]
    ended = run(*arguments, cwd=messy)
    assert (ended.status, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("numcheck: ")
    assert reason in line


def test_data_directory_is_named_by_option_environment_or_file_in_this_order(tmp_path):
    """Each names another; the strongest wins, and an empty variable names none."""
    for name in ("option", "environment", "file", "var"):
        (tmp_path / name).mkdir()
    fill(tmp_path / "option")
    for name in ("environment", "file", "var"):
        shutil.copytree(tmp_path / "option", tmp_path / name, dirs_exist_ok=True)
    (tmp_path / "numcheck.toml").write_text('data_dir = "file"')
    option, file, env = ["--data-dir", "option"], ["--config", "numcheck.toml"], {"NUMCHECK_DATA_DIR": "environment"}

    def told(*arguments, env=None):
        return json.loads(run("status", "--json", *arguments, cwd=tmp_path, env=env).out)["data_dir"]

    assert told(*option, *file, env=env) == "option"
    assert told(*file, env=env) == "environment"
    assert told(*file) == "file"
    assert told(env={"NUMCHECK_DATA_DIR": ""}) == "var"


def test_reader_that_goes_away_ends_a_command_quietly(tmp_path):
    """As `numcheck plan show | head -1` does: no traceback."""
    fill(tmp_path / "var")
    line = f"{NUMCHECK[0]} plan show --json --data-dir var | true"
    ended = run("-c", line, command=("bash",), cwd=tmp_path)
    assert "Traceback" not in ended.err
    assert "Exception" not in ended.err
