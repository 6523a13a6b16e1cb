"""`numcheck config`: what the settings are, what they mean, where each comes from, and what is wrong with them."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from numcheck.cli.options import Config, DataDir, Json, settings_of

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

app = typer.Typer(no_args_is_help=True, help="The settings: a sample file, what is wrong with them, what they are.")

BY_ENVIRONMENT = "ENVIRONMENT"
HIDDEN = "(hidden)"
SCHEMA = "https://json-schema.org/draft/2020-12/schema"
BARE_KEY = re.compile("[A-Za-z0-9_-]+")
TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "operators": (
        "operators.7740000076",
        {
            "endpoint": "numbers.mts.example:50051",
            "authority_file": "/etc/numcheck/mts-authority.pem",
            "certificate_file": "/etc/numcheck/node.pem",
            "key_file": "/etc/numcheck/node.key",
        },
    ),
    "code_messages": ("code_messages", {"en": "Your code: {code}", "ru": "Ваш код: {code}"}),
    "couriers": (
        "[couriers]",
        {
            "name": "voice",
            "url": "https://gateway.example/calls",
            "channels": ["call", "flash_call"],
            "secret_file": "/etc/numcheck/voice.key",
            "callback.secret_file": "/etc/numcheck/voice-callback.key",
        },
    ),
    "webhooks": (
        "[webhooks]",
        {
            "name": "backend",
            "service": "messenger",
            "url": "https://backend.example/numcheck",
            "secret_file": "/etc/numcheck/backend.key",
        },
    ),
    "test_numbers": ("test_numbers", {"+7 999 999-00-01": "042917"}),
    "calls_per_second_max": ("calls_per_second_max", {"Register": 500, "StartVerification": 50}),
    "services": ("services.messenger", {"verification_methods": "inbound+operator", "refresh_after_days": 180}),
}
"""Settings that are tables, which a TOML file has last: a table's name, and what it may have."""


@app.command()
def sample() -> None:
    """Print a TOML file of every setting with its meaning and its default: nothing in it is set until its # is removed.

    Example: numcheck config sample > numcheck.toml
    """
    from numcheck.cli.console import print_lines
    from numcheck.config import RELOADED, Settings

    print_lines(
        ["# The settings of numcheck: numcheck serve --config numcheck.toml", *_about_reloading(), ""],
        *(
            _sample_of(name, field, name in RELOADED)
            for name, field in Settings.model_fields.items()
            if name not in TABLES
        ),
        *(_table_of(name, Settings.model_fields[name]) for name in TABLES),
    )


@app.command()
def schema() -> None:
    """Print the JSON schema of a file of settings, for an editor that completes and checks TOML by it.

    Example: numcheck config schema > numcheck.schema.json
    """
    from numcheck.cli.console import print_json
    from numcheck.config import Settings

    print_json({"$schema": SCHEMA, **Settings.model_json_schema(), "title": "The settings of numcheck"})


@app.command()
def check(data_dir: DataDir = None, config: Config = None, as_json: Json = False) -> None:
    """Say whether a node can serve by the settings of this run, or what is wrong with them; nothing is opened.

    Example: numcheck config check --config numcheck.toml
    """
    from numcheck.cli.console import out, print_json
    from numcheck.errors import BadConfiguration
    from numcheck.serving.checks import misspelt_variables, problems_of, short_messages_of, warnings_of

    settings = settings_of(config, data_dir=data_dir)
    problems = [*misspelt_variables(), *problems_of(settings)]
    if problems:
        raise BadConfiguration("; ".join(problems))
    warnings, parts = warnings_of(settings), short_messages_of(settings)
    if as_json:
        print_json({"good": True, "warnings": warnings, "short_messages": parts})
        return
    told = [f"{name} takes {count} short message{'s' if count > 1 else ''}" for name, count in parts.items()]
    for line in ["a node can serve by these settings", *warnings, *told]:
        out.print(line)


@app.command()
def show(context: typer.Context, data_dir: DataDir = None, config: Config = None, as_json: Json = False) -> None:
    """Show the settings of this run with their meaning and where each comes from. Secrets are hidden.

    Example: numcheck config show --config numcheck.toml
    """
    from numcheck.cli.console import print_json, print_table
    from numcheck.config import RELOADED, Settings, sources_of

    settings = settings_of(config, data_dir=data_dir)
    told_by_environment = str(getattr(context.get_parameter_source("data_dir"), "name", "")) == BY_ENVIRONMENT
    sources = sources_of(config, data_dir=None if told_by_environment else data_dir)
    shown = {
        name: {
            "value": _shown(getattr(settings, name)),
            "source": sources[name],
            "meaning": field.description,
            "taken_anew": name in RELOADED,
        }
        for name, field in Settings.model_fields.items()
    }
    if as_json:
        print_json(shown)
        return
    rows = [[name, _in_a_cell(one["value"]), str(one["source"]), str(one["meaning"])] for name, one in shown.items()]
    print_table("", ["setting", "value", "from", "meaning"], rows)


def _shown(value: Any) -> Any:
    """Return a setting's value as JSON has it, with nothing in it that opens anything."""
    from pydantic import BaseModel, SecretStr

    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: _shown(one) if fields[name].repr else HIDDEN for name, one in value if one not in (None, {})}
    if isinstance(value, dict):
        return {name: _shown(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return _without_secrets(value) if isinstance(value, str) else value


def _without_secrets(text: str) -> str:
    """Return a text; of a URL, as an HTTP gateway has one, only where it leads: the rest may be a password or a key."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return HIDDEN
    whole = parts.username is None and not parts.query and not parts.fragment
    return text if whole else f"{parts.scheme}://{host}{port}{parts.path} {HIDDEN}"


def _in_a_cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _about_reloading() -> list[str]:
    return ["# A running node takes settings marked * anew on SIGHUP; all others take a restart."]


def _sample_of(name: str, field: "FieldInfo", reloaded: bool) -> list[str]:
    return [_comment(field, reloaded), f"#{name} = {_toml(_example(field))}", ""]


def _table_of(name: str, field: "FieldInfo") -> list[str]:
    from numcheck.config import RELOADED

    heading, values = TABLES[name]
    lines = [f"#{_key(key)} = {_toml(value)}" for key, value in values.items()]
    return [_comment(field, name in RELOADED), f"#[{heading}]", *lines, ""]


def _comment(field: "FieldInfo", reloaded: bool) -> str:
    return f"# {field.description}{' *' if reloaded else ''}"


def _example(field: "FieldInfo") -> Any:
    return (field.examples or [field.get_default(call_default_factory=True)])[0]


def _key(name: str) -> str:
    """Return a name as TOML has it."""
    return name if BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    """Return a plain value as TOML has it, whose texts are JSON's."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
