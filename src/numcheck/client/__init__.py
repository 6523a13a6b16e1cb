"""The Python client: asks a node, pushes to it, and batches for its caller."""

from numcheck.client.check import CheckClient, Checked
from numcheck.client.push import Numbers, PushClient
from numcheck.client.registrations import RegistrationClient

__all__ = ["CheckClient", "Checked", "Numbers", "PushClient", "RegistrationClient"]
