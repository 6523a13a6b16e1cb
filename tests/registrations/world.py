"""An installation in the tests' own process: a real store and index, and a clock, a courier and chance made by hand."""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.errors import DeliveryFailed
from numcheck.index import Index, open_index
from numcheck.registrations.codes import CodePolicy
from numcheck.registrations.completion import Completion
from numcheck.registrations.enquiry import Enquirer
from numcheck.registrations.events import Chain
from numcheck.registrations.policy import Policy, alternatives_of
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registrar import Registrar
from numcheck.registrations.registration import CodeToSend, Outcome, Registration
from numcheck.registrations.reverifier import Reverifier
from numcheck.registrations.sealing import Key, Keyring
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Environment, Verifier
from numcheck.serving.keys import Keys
from numcheck.serving.publishing import index_directory
from numcheck.steps import alone
from numcheck.store import Store
from numcheck.store.acts import Act
from numcheck.store.events import BOUND_KIND
from tests.serving import small

START = datetime(2026, 9, 1, 12, tzinfo=UTC)
SERVICE = "messenger"
DATA = {"name": "Иванов", "birthday": "1990-01-01"}
ADDRESS = NetworkAddress("203.0.113.7", 50812)
KEYS = Keys(Keyring([Key(1, bytes(range(32)))]), Ed25519PrivateKey.from_private_bytes(bytes(32)))


@dataclass
class Courier:
    """Keeps what it is given instead of sending it."""

    channels = frozenset({"sms"})
    sent: list[tuple[int, str]] = field(default_factory=list)
    ways: list[CodeToSend] = field(default_factory=list)
    failing: bool = False

    def send(self, number: int, to_send: CodeToSend, *, service: str, message_id: str) -> str:
        self.sent.append((number, to_send.code))
        self.ways.append(to_send)
        if self.failing:
            raise DeliveryFailed("the gateway is gone")
        return next(channel for channel in to_send.channels if channel in self.channels)


def bounds_of(**bounds: int) -> CodePolicy:
    """Bounds that nothing comes near to, but for these."""
    return CodePolicy(**{"number_max": 10**6, "block_max": 10**6, "network_max": 10**6, "rate_max": 10**6, **bounds})


def recorded(registration: Registration) -> tuple[Any, ...]:
    """All that is recorded, but for what a row gets as it is written."""
    return *registration.row[:-4], registration.record


class Ran:
    """Rules whose calls are run at once, each alone."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        rule = getattr(self._rules, name)
        if not callable(rule):
            return rule

        @wraps(rule)
        def run(*args: Any, **kwargs: Any) -> Any:
            result = rule(*args, **kwargs)
            return alone(result) if isinstance(result, Generator) else result

        return run


cached_policy = lru_cache(Policy)  # as a node makes each once


@dataclass
class World:
    """The installation. `now` stands still until a test moves it."""

    data_dir: Path
    methods: str = "operator,code"  # what decides at once, for tests that are about something else
    policy: Mapping[str, Any] = field(default_factory=lambda: {"data_age_max": timedelta(days=365)})
    bounds: CodePolicy = field(default_factory=bounds_of)
    agreed: Callable[[str, int], bool] = lambda _service, _operator_id: True
    keys: Keys = KEYS
    now: datetime = START
    courier: Courier | None = field(default_factory=Courier)
    enquirer: Enquirer | None = None
    test_codes: Mapping[int, str] = field(default_factory=dict)
    seed: int = 7
    steady: Callable[[datetime], datetime] = lambda now: now
    url: str | None = None  # where the registrations are; the index is the data directory's

    def __post_init__(self) -> None:
        self.store = Store(self.data_dir, url=self.url)
        self.index: Index = open_index(index_directory(self.data_dir))
        chance = random.Random(self.seed)
        self.vault = Vault(self.keys.keyring, chance.randbytes)
        self.chain = Chain(self.keys.keyring)
        self.registrations = self.store.registrations(self.chain)
        self.around = around = Environment(
            index=lambda: self.index,
            policy_for=lambda _service: cached_policy(alternatives_of(self.methods), **self.policy),
            agreed=self.agreed,
            courier=self.courier,
            code_policy_for=lambda _service: self.bounds,
            now=lambda: self.now,
            random_below=chance.randrange,
            enquirer=self.enquirer,
            test_codes=self.test_codes,
        )
        self.rules_of_verifications = verifier = Verifier(self.registrations, self.vault, around)
        self.rules_of_proofs = Completion(self.registrations, self.vault, verifier)
        self.rules_of_registrations = Registrar(
            self.registrations, self.vault, verifier, now=lambda: self.now, steady=self.steady
        )
        self.completion, self.registrar = Ran(self.rules_of_proofs), Ran(self.rules_of_registrations)
        self.reverifier = Reverifier(self.registrations, self.vault, verifier, around)

    def close(self) -> None:
        self.store.close()

    def register(self, number: int, user_id: str = "u1", *, request_id: str = "", **changes: Any) -> Outcome:
        fields = {"identifier": {"login": "ivan"}, "network_address": ADDRESS, "registration_data": DATA, **changes}
        record = Record(user_id=user_id, number=number, **fields)
        outcome: Outcome = self.registrar.register(SERVICE, request_id, record)
        return outcome

    def kinds(self) -> list[str]:
        """What happened to registrations and who did what, in order."""
        untold = {BOUND_KIND, Act.WITHDRAWALS_FOLLOWED.value, Act.WITHDRAWALS_DROPPED.value, Act.RECORD_TIDIED.value}
        return [event.kind for event in self.store.events().all() if event.kind not in untold]

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)


__all__ = ["ADDRESS", "DATA", "KEYS", "SERVICE", "START", "Courier", "Ran", "World", "bounds_of", "recorded", "small"]
