"""`numcheck config`: what a file of settings may have, what is wrong with it, what holds and where it comes from."""

import json
import re
import tomllib

import pytest

from numcheck.cli.config import TABLES
from numcheck.config import Settings, load_settings
from tests.serving.command import run

SECRETS = {
    "database_url": "postgresql://numcheck:s3cret@db.example/numcheck",
    "token": "s3cret",
    "code_delivery": "https://user:s3cret@gateway.example/send?key=s3cret",
}


def uncommented(text: str) -> str:
    """A sample with every # before a setting removed."""
    return re.sub(r"^#(?=[a-z[])", "", text, flags=re.MULTILINE)


def test_sample_is_a_file_that_sets_nothing_and_names_everything(tmp_path):
    """Uncommented it has every setting, with the default where there is one."""
    sample = run("config", "sample")
    assert (sample.status, sample.err) == (0, "")
    assert tomllib.loads(sample.out) == {}
    everything = tomllib.loads(uncommented(sample.out))
    assert everything.keys() == Settings.model_fields.keys()
    assert load_settings(**{**everything, "tls_clients": "certificate"})
    defaults = {name: field.default for name, field in Settings.model_fields.items() if field.default_factory is None}
    plain = {name: value for name, value in everything.items() if isinstance(defaults.get(name), int | bool)}
    assert plain == {name: value for name, value in defaults.items() if isinstance(value, int | bool)}
    assert len(plain) > 15


def test_every_plain_setting_of_the_sample_stands_below_its_meaning():
    lines = run("config", "sample").out.partition("#[")[0].splitlines()
    for name, field in Settings.model_fields.items():
        if name in TABLES:
            continue
        (place,) = [place for place, line in enumerate(lines) if re.match(rf"#{name} = ", line)]
        assert lines[place - 1].removesuffix(" *") == f"# {field.description}"


def test_schema_has_every_setting_with_its_meaning_and_refuses_others():
    schema = json.loads(run("config", "schema").out)
    assert schema["properties"].keys() == Settings.model_fields.keys()
    assert schema["additionalProperties"] is False
    assert all(one["description"] for one in schema["properties"].values())
    assert schema["properties"]["api_threads"]["exclusiveMinimum"] == 0
    assert schema["properties"]["tls_clients"]["enum"] == ["certificate", "token"]
    assert set(schema["$defs"]) == {
        "CallbackSettings",
        "CourierSettings",
        "OperatorSettings",
        "ServiceSettings",
        "WebhookSettings",
    }


def test_show_says_what_holds_and_where_it_comes_from(tmp_path):
    """The strongest source of each is named, whatever the others say; a table has no room for less."""
    file = tmp_path / "numcheck.toml"
    file.write_text("api_threads = 3\nthreads = 3\n[services.shop]\nrefresh_after_days = 30\n")
    env = {"NUMCHECK_THREADS": "4", "NUMCHECK_DATA_DIR": "there", "NUMCHECK_LISTEN": ""}
    shown = json.loads(run("config", "show", "--json", "--config", file, env=env).out)
    told = {name: (one["value"], one["source"]) for name, one in shown.items()}
    assert told["api_threads"] == (3, "file")
    assert told["threads"] == (4, "environment")
    assert told["data_dir"] == ("there", "environment")
    assert told["listen"] == ("127.0.0.1:50051", "default")
    assert told["services"] == ({"shop": {"refresh_after_days": 30}}, "file")
    by_option = json.loads(run("config", "show", "--json", "--data-dir", "here", env=env).out)
    assert (by_option["data_dir"]["value"], by_option["data_dir"]["source"]) == ("here", "command line")
    table = run("config", "show", "--config", file, env=env).out
    assert all(f"{name} " in table for name in Settings.model_fields)


@pytest.mark.parametrize("form", [["--json"], []], ids=["json", "table"])
def test_show_hides_what_opens_anything(tmp_path, form):
    """Of a gateway's URL it shows where it leads."""
    file = tmp_path / "numcheck.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in SECRETS.items()))
    with file.open("a") as text:
        text.write("[[couriers]]\nname = 'v'\nurl = 'https://x.example?k=s3cret'\n")
        text.write("form = { k = 's3cret' }\nheaders = { a = 's3cret' }\nquery = { a = 's3cret' }\nreceipts = false\n")
    shown = run("config", "show", "--config", file, *form)
    assert shown.status == 0
    assert "s3cret" not in shown.out
    assert "receipts" in shown.out
    assert "https://gateway.example/send (hidden)" in shown.out
    assert shown.out.count("(hidden)") == 7


def test_check_says_that_a_node_can_serve_and_what_to_know():
    checked = run("config", "check", env={"NUMCHECK_VERIFICATION_METHODS": "operator", "NUMCHECK_PORT_50051_TCP": "x"})
    assert checked.status == 0
    assert checked.out.startswith("a node can serve by these settings\nWARNING: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("thraeds = 4", "there is no setting thraeds; the nearest is threads"),
        ("API-THREAD = 4", "there is no setting API-THREAD; the nearest is api_threads"),
        ("numcheck_listen = ''", "there is no setting numcheck_listen; the nearest is listen"),
        (
            "[services.m]\nrefresh_days = 4",
            "no setting services.m.refresh_days; the nearest is services.m.refresh_after_",
        ),
        (
            "[operators.7]\nendpoint = 'localhost:1'\nkeyfile = ''",
            "operators.7.keyfile; the nearest is operators.7.key_f",
        ),
        ("zzz = 4", "there is no setting zzz"),
        ("listen = '192.0.2.1:50051'", "192.0.2.1 is not a loopback address"),
        ("metrics_listen = 'nonsense'", "is not host:port"),
        ("code_delivery = 'pigeon'", "code_delivery: must be none, console"),
        ("code_delivery = 'https://gateway.example'", "code_delivery_secret_file: an HTTP gateway needs the key"),
        ("code_delivery = 'smpp://smsc.example'", "smpp_system_id: "),
        ("server_authority_file = 'nowhere.pem'", "server_authority_file: nowhere.pem: no such file or directory"),
        (
            "tls_clients = 'token'\ntls_certificate_file = 'numcheck.toml'\ntls_key_file = 'numcheck.toml'",
            "the TLS files do not hold a certificate",
        ),
    ],
)
def test_check_names_what_would_keep_a_node_from_serving(tmp_path, text, reason):
    """In one line, with the nearest setting of a name that is none."""
    (tmp_path / "numcheck.toml").write_text(text)
    checked = run("config", "check", "--config", "numcheck.toml", cwd=tmp_path)
    assert (checked.status, checked.out) == (1, "")
    (line,) = checked.err.splitlines()
    assert line.startswith("numcheck: ")
    assert reason in line


def test_a_variable_that_is_nearly_a_settings_is_refused_by_check_and_named():
    checked = run("config", "check", env={"NUMCHECK_THRAEDS": "4", "NUMCHECK_METRIC_LISTEN": "x"})
    assert checked.status == 1
    assert "NUMCHECK_METRIC_LISTEN is no setting; the nearest is metrics_listen" in checked.err
    assert "NUMCHECK_THRAEDS is no setting; the nearest is threads" in checked.err
