"""The Python client: asks a node, pushes to it, says who may call, and batches for its caller."""

from numcheck.client.aio_check import AsyncCheckClient
from numcheck.client.aio_registrations import AsyncRegistrationClient
from numcheck.client.audit import AuditClient
from numcheck.client.batching import Checked, CheckedNumber
from numcheck.client.cache import CachePolicy
from numcheck.client.callers import CallerClient
from numcheck.client.channel import Security
from numcheck.client.check import CheckClient
from numcheck.client.push import Numbers, PushClient
from numcheck.client.registrations import RegistrationClient

__all__ = [
    "AsyncCheckClient",
    "AsyncRegistrationClient",
    "AuditClient",
    "CachePolicy",
    "CallerClient",
    "CheckClient",
    "Checked",
    "CheckedNumber",
    "Numbers",
    "PushClient",
    "RegistrationClient",
    "Security",
]
