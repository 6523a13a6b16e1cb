"""Which hosts and targets are this machine."""

import pytest

from numcheck.hosts import goes_to_loopback, is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "localhost", "LocalHost", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_this_machine_is_told_by_its_names(host):
    assert is_loopback(host)
    assert goes_to_loopback(f"[{host}]:50051" if host.count(":") > 1 and host[0] != "[" else f"{host}:50051")


@pytest.mark.parametrize(
    "host", ["", "10.0.0.1", "0.0.0.0", "numcheck.example", "localhost.example", "127.0.0.1.example", "::2"]
)
def test_another_machine_is_not(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("dns:///localhost:50051", True),
        ("dns://8.8.8.8/localhost:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("ipv6:[::1]:50051", True),
        ("unix:/run/numcheck.sock", True),
        ("unix:///run/numcheck.sock", True),
        ("localhost", True),
        ("dns:///numcheck.example:50051", False),
        ("numcheck.example:50051", False),
        ("ipv4:10.0.0.1:50051", False),
    ],
)
def test_a_target_is_this_machine_however_it_is_written(target, own):
    assert goes_to_loopback(target) is own
