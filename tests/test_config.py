"""Settings: which source wins, and that a bad one is named in a line that never repeats its value."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from numcheck.config import INT32_MAX, Settings, load_settings
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.errors import BadConfiguration
from numcheck.registrations.codes import CodePolicy
from numcheck.registrations.policy import Method
from numcheck.serving.registrations import code_policies_of, policies_of, policy_warnings

SECRET = "s3cret"
NAMES = sorted(Settings.model_fields)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(f"NUMCHECK_{name.upper()}", raising=False)


@pytest.fixture
def toml(tmp_path):
    """A configuration file with this text."""

    def written(text: str | bytes):
        path = tmp_path / "numcheck.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_command_line_wins_over_environment_over_file_over_default(monkeypatch, toml):
    """Each source alone, then all together, one taken away at a time."""
    file = toml("api_threads = 3\nnumbers_per_call_max = 30")
    assert load_settings().api_threads == 16
    assert load_settings(file).api_threads == 3
    monkeypatch.setenv("NUMCHECK_API_THREADS", "4")
    assert load_settings(file).api_threads == 4
    settings = load_settings(file, api_threads=5)
    assert (settings.api_threads, settings.numbers_per_call_max, settings.concurrent_rpcs_max) == (5, 30, 512)


def test_option_that_was_not_given_hides_nothing(toml):
    """None is what the command line has for an option that is not there."""
    assert load_settings(toml("api_threads = 3"), api_threads=None).api_threads == 3


def test_variable_that_is_empty_hides_nothing(monkeypatch, toml):
    """As in a shell's NAME= command."""
    monkeypatch.setenv("NUMCHECK_DATA_DIR", "")
    assert str(load_settings().data_dir) == "var"
    assert str(load_settings(toml('data_dir = "there"')).data_dir) == "there"


def test_file_of_one_run_is_not_read_in_the_next(toml):
    assert load_settings(toml("api_threads = 3")).api_threads == 3
    assert load_settings().api_threads == 16


def test_every_setting_has_a_description_and_a_valid_default():
    for field in Settings.model_fields.values():
        assert field.description
    defaults = load_settings().model_dump()
    assert load_settings(**defaults).model_dump() == defaults


def test_a_policy_by_which_the_operator_alone_verifies_is_warned_of(toml):
    """E.1: an operator's data says that a number is in service, not who uses it; for each service that has such one."""
    assert policy_warnings(load_settings()) == []
    services = "".join(
        f"[services.{name}]\nverification_methods = '{methods}'\n"
        for name, methods in (
            ("a", "operator"),
            ("b", "inbound+operator"),
            ("c", "code+operator,operator"),
            ("d", "code"),
        )
    )
    warnings = policy_warnings(load_settings(toml("verification_methods = 'operator,code'\n" + services)))
    assert [re.search("of (every service|service .), operator", one)[1] for one in warnings] == [
        "every service",
        "service a",
        "service c",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("thraeds = 4", "there is no setting thraeds"),
        ("[api]\nthreads = 4", "there is no setting api"),
        ("api_threads = 'many'", "api_threads: input should be a valid integer"),
        ("api_threads = 1.5", "api_threads: input should be a valid integer"),
        ("api_threads = 0", "api_threads: input should be greater than 0"),
        ("data_age_max_s = -1", "data_age_max_s: input should be greater than or equal to 0"),
        ("listen = 1", "listen: input should be a valid string"),
        ("default_region = 'RUS'", "default_region: must be a country's two letters, such as RU"),
        ("default_region = 'ЯЯ'", "default_region: must be a country's two letters, such as RU"),
        ("api_threads = 0\ndrain_timeout_s = 0", "api_threads: input should be greater than 0; drain_timeout_s: "),
        ("api_threads", "numcheck.toml is not TOML: "),
        (b"\xff", "numcheck.toml is not TOML: "),
        ("a = 1\na = 2", "numcheck.toml is not TOML: "),
    ],
)
def test_file_is_refused_with_the_settings_that_are_bad(toml, text, reason):
    with pytest.raises(BadConfiguration) as refused:
        load_settings(toml(text))
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_value_is_never_repeated_when_it_is_refused(name, monkeypatch, toml):
    """It may be a secret that went into the wrong place."""
    values = [f"[{SECRET!r}]", f"{{x = {SECRET!r}}}"]
    for value in values:
        with pytest.raises(BadConfiguration) as refused:
            load_settings(toml(f"{name} = {value}"))
        assert str(refused.value).startswith(f"{name}")
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in NAMES if Settings.model_fields[name].annotation is int])
@pytest.mark.parametrize("value", [10**11, INT32_MAX + 1, -1, "x", ""])
def test_count_is_refused_when_nothing_has_room_for_it(name, value, toml):
    """gRPC's integers, a thread's stack, the calendar: the setting is named instead of an OverflowError later."""
    with pytest.raises(BadConfiguration, match=f"^{name}: "):
        load_settings(toml(f"{name} = {value!r}"))


def test_largest_settings_are_taken(tmp_path):
    """The bounds are those of what the settings go to: a listener opens with all of them at their largest."""
    largest = {}
    for name in NAMES:
        field = Settings.model_fields[name]
        if field.annotation is int:
            largest[name] = max(bound.le for bound in field.metadata if hasattr(bound, "le"))
    listener = PlainDoor(Settings(listen="127.0.0.1:0", **largest), [], Watches())
    listener.stop(0)


def test_region_is_read_in_either_case(monkeypatch):
    monkeypatch.setenv("NUMCHECK_DEFAULT_REGION", "us")
    assert load_settings().default_region == "US"


def test_a_services_table_has_bounds_of_its_own_for_codes(toml):
    common = "codes_per_service_max = 7\ncodes_per_block_max = 8\ncodes_per_network_max = 9\ncodes_per_number_max = 3\n"
    shop = "[services.shop]\ncodes_per_service_max = 70\n"
    bank = "[services.bank]\ncodes_per_network_max = 90\ncodes_per_block_max = 80"
    code_policy_for = code_policies_of(load_settings(toml(common + shop + bank)))
    assert code_policy_for("anybody") == CodePolicy(number_max=3, block_max=8, network_max=9, rate_max=7)
    assert code_policy_for("shop") == CodePolicy(number_max=3, block_max=8, network_max=9, rate_max=70)
    assert code_policy_for("bank") == CodePolicy(number_max=3, block_max=80, network_max=90, rate_max=7)


def test_a_services_table_changes_what_it_names_and_nothing_else(toml):
    policy_for = policies_of(
        load_settings(
            toml(
                "refresh_after_days = 300\nattesting_authorities = 'esia'\n"
                "[services.messenger]\nverification_methods = 'operator, code + inbound'\nrefresh_after_days = 365\n"
                "[services.shop]\nevidence_age_max_s = 0\nattesting_authorities = ''"
            )
        )
    )
    common = policy_for("anybody")
    assert common.alternatives == ((Method.CODE, Method.OPERATOR), (Method.CODE,))
    assert common.refresh_after.days == 300
    alternatives = ((Method.OPERATOR,), (Method.CODE, Method.INBOUND))
    messenger = replace(common, alternatives=alternatives, refresh_after=timedelta(days=365))
    assert policy_for("messenger") == messenger
    assert policy_for("shop") == replace(common, data_age_max=None, authorities=frozenset())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[services.m]\nthraeds = 4", "there is no setting services.m.thraeds"),
        ("[services.m]\nrefresh_after_days = 366", "services.m.refresh_after_days: input should be less than"),
        ("[services.m]\nrefresh_after_days = 0", "services.m.refresh_after_days: input should be greater than 0"),
        *(
            (
                f"[services.m]\nverification_methods = '{text}'",
                "services.m.verification_methods: must be some",
            )
            for text in ("pigeon", "", "code,", "code+", "code+code", "code,code", "code+operator,operator+code")
        ),
        ("[services.M]\nrefresh_after_days = 1", "services.M: a service's name is"),
        ("services = 1", "services: must be a table"),
    ],
)
def test_a_services_table_is_refused_with_what_is_bad(toml, text, reason):
    """A year is the law's longest (I.6)."""
    with pytest.raises(BadConfiguration) as refused:
        load_settings(toml(text))
    assert str(refused.value).startswith(reason)


def test_services_in_the_environment_are_refused(monkeypatch):
    monkeypatch.setenv("NUMCHECK_SERVICES", SECRET)
    with pytest.raises(BadConfiguration) as refused:
        load_settings()
    assert str(refused.value).startswith("services: ")
    assert SECRET not in str(refused.value)
