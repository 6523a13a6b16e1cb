"""The words of codes: what a template gives, in which language, what phones read, and how many messages it takes.

Lengths and lines are written here from 3GPP TS 23.038 and 23.040, WICG's origin-bound one-time codes and Android's
documentation of SMS Retriever.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.config import Settings, load_settings
from numcheck.delivery.texts import fits, parts_of
from numcheck.errors import BadConfiguration
from numcheck.serving.terms import Terms
from tests.delivery.messages import CODE
from tests.serving.command import run

HASH = "FA+9qCX9VSu"
SETTINGS = {
    "code_message": "{service}: {code}",
    "code_messages": {"ru": "Код: {code}", "pt-BR": "Código: {code}", "zh-Hant": "驗證碼 {code}"},
    "services": {
        "own": {"code_message": "Own {code}"},
        "tongue": {"code_language": "ru"},
        "both": {"code_message": "B {code}", "code_messages": {"de": "Kode {code}"}, "code_language": "de-AT"},
        "phone": {"code_message": "{code}", "code_domain": "chat.example", "code_app_hash": HASH},
    },
}


def told(service: str, language: str = "", channel: str = "sms", **settings: Any) -> str:
    return Terms(load_settings(**(settings or SETTINGS))).text(service, CODE, language=language, channel=channel)


@pytest.mark.parametrize(
    ("service", "language", "text"),
    [
        ("chat", "", "chat: 042917"),
        ("chat", "ru", "Код: 042917"),
        ("chat", "RU-ru", "Код: 042917"),
        ("chat", "pt", "chat: 042917"),
        ("chat", "pt-br", "Código: 042917"),
        ("chat", "zh-Hant-TW", "驗證碼 042917"),
        ("chat", "zh-Hans", "chat: 042917"),
        ("own", "ru", "Own 042917"),
        ("tongue", "", "Код: 042917"),
        ("tongue", "en", "Код: 042917"),
        ("tongue", "pt-BR", "Código: 042917"),
        ("both", "ru", "Kode 042917"),
        ("both", "", "Kode 042917"),
    ],
)
def test_words_are_in_the_language_that_is_asked_for_or_a_wider_one_or_the_services(
    service: str, language: str, text: str
) -> None:
    """RFC 4647, 3.4: each subtag is dropped in turn. A service's own words are not mixed with everybody's."""
    assert told(service, language) == text


def test_a_short_message_ends_in_the_lines_that_phones_read() -> None:
    """WebOTP's is the last one; neither stands in what is read out or pushed."""
    assert told("phone") == f"042917\n\n{HASH}\n@chat.example #042917"
    assert told("phone", channel="call") == told("phone", channel="push") == "042917"
    only_domain = told("x", code_message="Code {code}", code_domain="chat.example")
    assert only_domain == "Code 042917\n\n@chat.example #042917"


@given(st.text(st.sampled_from("{}code service\\1"), max_size=20))
def test_nothing_that_stands_in_a_value_is_taken_for_a_place(service: str) -> None:
    """Values are put in once, whatever they look like."""
    wording = Settings(code_message="{service}|{code}|{service}").wordings[""][1]
    assert wording.text(service, "{service}", language="", channel="sms") == f"{service}|{{service}}|{service}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("@" * 160, 1),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ю" * 70, 1),
        ("ю" * 71, 2),
        ("ю" * 134, 2),
        ("ю" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("", 1),
    ],
)
def test_a_text_takes_as_many_messages_as_the_specification_says(text: str, parts: int) -> None:
    """160 or 153 characters of the GSM alphabet, 70 or 67 units of UTF-16, and two places for what is escaped."""
    assert parts_of(text) == parts


@pytest.mark.parametrize(
    ("text", "fit"),
    [("x" * 160, True), ("x" * 161, False), ("@" * 71, False), ("ю" * 70, True), ("ю" * 71, False), ("😀" * 36, False)],
)
def test_a_text_fits_into_one_message_of_an_smsc_whose_alphabet_is_not_known(text: str, fit: bool) -> None:
    assert fits(text) is fit


BY_SMPP = {"code_delivery": "smpp://smsc"}
LONG = "ю" * 64


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"code_message": "Hello"}, "code_message: "),
        ({"code_message": "{code} {name}"}, "there is no field {name}"),
        ({"code_messages": {"ru": "Привет"}}, "code_messages.ru: "),
        ({"code_messages": {"r u": "{code}"}}, "code_messages.r u"),
        ({"code_messages": {"": "{code}"}}, "code_messages."),
        ({"services": {"shop": {"code_message": "Hello"}}}, "services.shop.code_message: "),
        ({"services": {"shop": {"code_messages": {"ru": "x"}}}}, "services.shop.code_messages.ru: "),
        ({"code_language": "русский"}, "code_language: "),
        ({"code_domain": "https://chat.example"}, "code_domain: "),
        ({"code_domain": "chat..example"}, "code_domain: "),
        ({"code_app_hash": "short"}, "code_app_hash: "),
        ({"code_channels": ""}, "code_channels: "),
        ({"code_channels": "sms,sms"}, "code_channels: "),
        ({"code_channels": "sms,flash_call"}, "code_channels: "),
        ({"services": {"shop": {"code_channels": "SMS"}}}, "services.shop.code_channels: "),
        ({"code_message": "x" * 130 + "{code}", "code_app_hash": HASH}, "code_message: has more than the 140 bytes"),
        ({**BY_SMPP, "code_message": f"{LONG}ю{{code}}"}, "code_message: must fit"),
        ({**BY_SMPP, "code_messages": {"ru": f"{LONG}ю{{code}}"}}, "code_messages.ru: must fit"),
        ({**BY_SMPP, "code_message": f"{LONG[1:]}{{code}}", "code_domain": "a.b"}, "code_message: must fit"),
        (
            {
                "couriers": [{"name": "a", "url": "smpp://x"}],
                "services": {"s": {"code_message": f"{LONG}{{code}}{{service}}"}},
            },
            "services.s.code_message: must fit",
        ),
    ],
)
def test_words_that_cannot_be_sent_are_refused_by_their_setting(settings: dict[str, Any], problem: str) -> None:
    """At the start and on SIGHUP alike: no node ever has such settings."""
    with pytest.raises(BadConfiguration) as refused:
        load_settings(**settings)
    assert problem in str(refused.value)


def test_words_that_just_fit_are_taken() -> None:
    load_settings(**BY_SMPP, code_message=f"{LONG}{{code}}")
    load_settings(**BY_SMPP, code_message="x" * 154 + "{code}")
    load_settings(code_message="x" * 121 + "{code}", code_app_hash=HASH)


def test_config_check_says_how_many_messages_each_text_takes(tmp_path: Path) -> None:
    """The words of the longest name of a service, where they have one; nothing where no codes are sent."""
    words = f"code_message = 'Your code: {{code}}'\n[code_messages]\nru = '{'ю' * 65}{{code}}'\n"
    file = tmp_path / "numcheck.toml"
    file.write_text(words)
    assert "short message" not in run("config", "check", "--config", file).out
    file.write_text(f"code_delivery = 'console'\n{words}")
    lines = run("config", "check", "--config", file).out.splitlines()
    assert lines[1:] == ["code_message takes 1 short message", "code_messages.ru takes 2 short messages"]
    told = json.loads(run("config", "check", "--json", "--config", file).out)
    assert told["short_messages"] == {"code_message": 1, "code_messages.ru": 2}
