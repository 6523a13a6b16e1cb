"""Makes what a node needs for registrations: keys, policy, courier, and the rules over the store and the index."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from numcheck.config import Settings
from numcheck.delivery.console import ConsoleCourier
from numcheck.delivery.http import HttpCourier
from numcheck.errors import BadConfiguration
from numcheck.identity.codes import SendBounds
from numcheck.identity.events import Chain
from numcheck.identity.history import History
from numcheck.identity.policy import Method, Policy
from numcheck.identity.registrar import Registrar
from numcheck.identity.reverifier import Reverifier
from numcheck.identity.vault import Vault
from numcheck.identity.verifier import Courier, Surroundings, Verifier
from numcheck.identity.withdrawal import Withdrawals
from numcheck.index import PublishedIndex
from numcheck.rpc.feeds import Feeds
from numcheck.rpc.registration import RegistrationService, Rules
from numcheck.serving.keys import Keys, keys_path, make_keys, read_keys
from numcheck.serving.timekeeper import Timekeeper
from numcheck.serving.withdrawer import Withdrawer
from numcheck.store import Store

GATEWAY_KEY_SIZE_MIN = 24  # bytes, as Standard Webhooks asks

Announce = Callable[[str], None]


def keys_of(store: Store, settings: Settings, announce: Announce) -> Keys:
    """The installation's keys, made if there is nothing yet that lies under any. BadKeys if they are lost."""
    path = keys_path(settings)
    if path.exists() or store.events().try_head() is not None:
        return read_keys(path)
    keys = make_keys(path, _now())
    announce(f"WARNING: {path} was made: without it no registration can be read; keep a copy in another safe place")
    return keys


def policy_of(settings: Settings) -> Policy:
    """The policy that every service has."""
    age_max_s = settings.evidence_age_max_s
    return Policy(
        methods=tuple(Method(method) for method in settings.verification_methods.split(",")),
        data_age_max=timedelta(seconds=age_max_s) if age_max_s else None,
        refresh_after=timedelta(days=settings.refresh_after_days),
        authorities=frozenset(filter(None, map(str.strip, settings.attesting_authorities.split(",")))),
    )


def courier_of(settings: Settings, announce: Announce) -> Courier | None:
    """What sends codes; None if nothing does. BadConfiguration if it cannot be what the settings say."""
    wanted = settings.code_delivery
    if wanted == "none":
        return None
    if wanted == "console":
        announce("codes are shown here, and sent to nobody: for trying out only")
        return ConsoleCourier(announce)
    if wanted.startswith(("http://", "https://")):
        # A quarter of the threads at most waits for the gateway.
        return HttpCourier(
            wanted, _gateway_key(settings), now=_now, sends_at_once_max=max(settings.api_threads // 4, 1)
        )
    raise BadConfiguration("code_delivery: must be none, console, or the URL of an HTTP gateway")


def _gateway_key(settings: Settings) -> bytes:
    path = settings.code_delivery_secret_file
    if path is None:
        raise BadConfiguration("code_delivery_secret_file: an HTTP gateway needs the key that signs what it gets")
    key = path.read_bytes().strip()
    if len(key) < GATEWAY_KEY_SIZE_MIN:
        raise BadConfiguration(f"code_delivery_secret_file: has less than {GATEWAY_KEY_SIZE_MIN} bytes")
    return key


Agreed = Callable[[str], frozenset[int] | None]
"""The operators that a service has agreements with; None: all of them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The parts of a node that know registrations."""

    service: RegistrationService
    timekeeper: Timekeeper
    withdrawer: Withdrawer
    feeds: Feeds

    def start(self) -> None:
        """Begin to let time pass, and to follow withdrawals."""
        self.timekeeper.start()
        self.withdrawer.start()

    def stop(self) -> None:
        """End it, once the listeners have stopped."""
        self.feeds.close()
        self.timekeeper.stop()
        self.withdrawer.stop()


def identity_of(
    store: Store, published: PublishedIndex, settings: Settings, announce: Announce, agreed: Agreed
) -> Identity:
    """Put the parts together."""
    keys = keys_of(store, settings, announce)
    vault = Vault(keys.keyring, secrets.token_bytes)
    registrations = store.registrations(Chain(keys.keyring))
    policy = policy_of(settings)

    def agrees(service: str, operator_id: int) -> bool:
        operator_ids = agreed(service)
        return operator_ids is None or operator_id in operator_ids

    surroundings = Surroundings(
        index=published.get,
        policy_for=lambda _service: policy,
        agreed=agrees,
        courier=courier_of(settings, announce),
        bounds=SendBounds(settings.codes_per_block_max, settings.codes_per_network_max),
        now=_now,
        random_below=secrets.randbelow,
    )
    verifier = Verifier(registrations, vault, surroundings)
    registrar = Registrar(registrations, vault, verifier, now=_now)
    feeds = Feeds()
    registrations.follow(feeds.tell)
    history = History(registrations, vault, keys.signing_key)
    rules = Rules(registrar, verifier, history, Reverifier(registrations, vault, verifier, surroundings))
    service = RegistrationService(rules, feeds, now=_now, default_region=settings.default_region)
    withdrawer = Withdrawer(Withdrawals(registrations, vault, now=_now))
    return Identity(service, Timekeeper(registrations), withdrawer, feeds)


def _now() -> datetime:
    return datetime.now(UTC)
