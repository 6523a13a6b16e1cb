"""What is recorded of a user: the standard library's reading of addresses is the oracle."""

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.errors import BadRegistration
from numcheck.registrations.record import NetworkAddress

octets = st.integers(0, 300).map(str) | st.sampled_from(["", "00", "01", "1 ", "+1", "٣", "0x1", "1\n"])


@given(st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda one: one.exploded.upper()))
def test_an_address_is_recorded_in_its_canonical_form(text: str) -> None:
    expected = ipaddress.ip_address(text)
    assert NetworkAddress.checked(text, 1).address == str(getattr(expected, "ipv4_mapped", None) or expected)


@given(st.lists(octets, min_size=3, max_size=5).map(".".join))
def test_what_is_no_address_is_refused(text: str) -> None:
    expected = None
    with suppress(ValueError):
        expected = str(ipaddress.ip_address(text))
    if expected is None:
        with pytest.raises(BadRegistration):
            NetworkAddress.checked(text, 1)
    else:
        assert NetworkAddress.checked(text, 1).address == expected


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
    ],
)
def test_network_that_bounds_codes_is_the_address_or_its_64(address: str, network: str) -> None:
    assert NetworkAddress.checked(address, 1).network == network
