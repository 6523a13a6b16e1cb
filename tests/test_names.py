"""A service's name has one rule: what one way in takes, each takes, and what one refuses, each refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from numcheck.access import Caller, Role, check_caller
from numcheck.access.rules import check_service
from numcheck.config import load_settings
from numcheck.errors import BadCaller, BadConfiguration, BadRegistration
from numcheck.registrations import record

GOOD = ["m", "0", "chat", "my-shop", "a.b_c-d", "a" * 64, "7" + "-" * 63]
BAD = [
    "",
    "My Shop",
    "Chat",
    "-a",
    ".a",
    "_a",
    "a" * 65,
    "a b",
    "чат",
    "a\n",
    "a\0",
    "\N{MATHEMATICAL DOUBLE-STRUCK DIGIT ONE}",
]


def set_for(name: str, file: Path) -> None:
    key = "".join(f"\\U{ord(character):08x}" for character in name)
    file.write_text(f'[services."{key}"]\nrefresh_after_days = 1\n', encoding="utf-8")
    assert list(load_settings(file).services) == [name]


@pytest.mark.parametrize("name", GOOD + BAD)
def test_each_way_in_has_the_same_rule(name, tmp_path):
    messenger = Caller("numcheck://service/x", Role.MESSENGER, service=name)
    ways: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: record.check_service(name), BadRegistration),
        (lambda: check_caller(messenger), BadCaller),
        (lambda: check_service(name), BadCaller),
        (lambda: set_for(name, tmp_path / "numcheck.toml"), BadConfiguration),
    ]
    for check, refusal in ways:
        if name in GOOD:
            check()
        else:
            with pytest.raises(refusal, match="a service's name is"):
                check()
