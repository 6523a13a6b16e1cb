"""Warnings about settings, before a node serves by them."""

import pytest

from numcheck.config import load_settings
from numcheck.serving.checks import exposed_secrets

SECRETS = {
    "database_url": 'database_url = "postgresql://numcheck:word@127.0.0.1/numcheck"',
    "token": 'token = "t0ken"',
    "test_numbers": '[test_numbers]\n"+79160000000" = "123456"',
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_settings_file_with_a_secret_that_everybody_can_read_is_warned_of(tmp_path, name):
    file = tmp_path / "numcheck.toml"
    file.write_text(SECRETS[name])
    file.chmod(0o644)
    (warning,) = exposed_secrets(load_settings(file))
    assert warning.startswith(f"WARNING: {name}: ")
    assert str(file) in warning
    file.chmod(0o640)
    assert exposed_secrets(load_settings(file)) == []


def test_a_settings_file_without_a_secret_may_be_read_by_everybody(tmp_path):
    file = tmp_path / "numcheck.toml"
    file.write_text('listen = "127.0.0.1:0"')
    file.chmod(0o644)
    assert exposed_secrets(load_settings(file)) == []
