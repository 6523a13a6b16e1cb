"""Makes what a node needs for registrations: keys, policy, courier, and the rules over the store and the index."""

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.api.audit import AuditService
from numcheck.api.registration import RegistrationService, Rules
from numcheck.config import ServiceSettings, Settings
from numcheck.door.feeds import Feeds
from numcheck.e164 import parse
from numcheck.errors import NotANumber
from numcheck.index import Index, PublishedIndex
from numcheck.registrations.codes import CodePolicy
from numcheck.registrations.completion import Completion
from numcheck.registrations.events import Chain
from numcheck.registrations.history import History
from numcheck.registrations.identifications import Identifications
from numcheck.registrations.importing import Importer
from numcheck.registrations.inbound import Inbound
from numcheck.registrations.judging import check_test_number
from numcheck.registrations.policy import Policy, alternatives_of, channels_of
from numcheck.registrations.registrar import Registrar
from numcheck.registrations.reverifier import Reverifier
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Environment, Verifier
from numcheck.registrations.withdrawal import Withdrawals
from numcheck.serving.code_judge import CodeJudge
from numcheck.serving.couriers import Delivery, delivery_of
from numcheck.serving.enquiries import Enquiries, enquiries_of
from numcheck.serving.keys import Keys, keys_path, make_keys, read_keys, use_keys
from numcheck.serving.ledger import UNKNOWN_OPERATOR
from numcheck.serving.receipt_exchange import ReceiptExchange
from numcheck.serving.replica import Replica
from numcheck.serving.sharing import Sharing
from numcheck.serving.terms import Terms
from numcheck.serving.timekeeper import NodeClock, Timekeeper, TrustedClock
from numcheck.serving.webhooks import Source, WebhookSenders, senders_of
from numcheck.serving.withdrawer import Withdrawer
from numcheck.serving.witness import Witness
from numcheck.store import Store
from numcheck.store.leases import NodeReport

Announce = Callable[[str], None]


def keys_of(store: Store, settings: Settings, announce: Announce) -> Keys:
    """Return the installation's keys, made if there is nothing yet that lies under any. BadKeys if they are lost."""
    path = keys_path(settings)
    if path.exists() or store.key_checks() or store.events().try_head() is not None:
        return read_keys(path)
    keys = make_keys(path, _now())
    announce(f"WARNING: {path} was made: without it no registration can be read; keep a copy in another safe place")
    return keys


def record_acts(store: Store, settings: Settings, announce: Announce) -> None:
    """From now on tell acts of administration in the chain, under the installation's keys. BadKeys."""
    keyring = keys_of(store, settings, announce).keyring
    use_keys(store, store.registrations(Chain(keyring)), keyring)


def policies_of(settings: Settings) -> Callable[[str], Policy]:
    """Return what gives each service its policy: its own, or the installation's."""
    common = _policy_of(settings, ServiceSettings())
    own = {service: _policy_of(settings, changes) for service, changes in settings.services.items()}
    return lambda service: own.get(service, common)


def policy_warnings(settings: Settings) -> list[str]:
    """Warn of each policy by which an operator's word alone verifies, though it says nothing of who uses the number
    (E.1)."""
    policies = {"every service": _policy_of(settings, ServiceSettings())}
    policies |= {f"service {name}": _policy_of(settings, changes) for name, changes in settings.services.items()}
    return [
        f"WARNING: by the verification_methods of {whose}, operator verifies alone: "
        "whoever types a stranger's active number is VERIFIED; code+operator asks for both"
        for whose, policy in policies.items()
        if policy.operator_alone
    ]


def test_number_warnings(settings: Settings) -> list[str]:
    """Warn of test numbers, if there are any."""
    if not settings.test_numbers:
        return []
    count = len(settings.test_numbers)
    return [
        f"WARNING: {count} test number{'s are' if count > 1 else ' is'} verified by a fixed code, with nothing sent: "
        "test_numbers; the evidence of who has one says synthetic"
    ]


def registration_warnings(settings: Settings) -> list[str]:
    """Warn of what a person should know of the settings of registrations."""
    return [*policy_warnings(settings), *test_number_warnings(settings)]


def check_test_numbers(settings: Settings, index: Index) -> None:
    """Raise BadTestNumber if the plan does not allot each test number to nobody."""
    for number in settings.test_codes:
        check_test_number(index.facts(number))


def _policy_of(settings: Settings, changes: ServiceSettings) -> Policy:
    values = settings.values_of(changes)
    age_max_s = values["evidence_age_max_s"]
    return Policy(
        alternatives=alternatives_of(values["verification_methods"]),
        data_age_max=timedelta(seconds=age_max_s) if age_max_s else None,
        refresh_after=timedelta(days=values["refresh_after_days"]),
        authorities=frozenset(filter(None, map(str.strip, values["attesting_authorities"].split(",")))),
        live=values["live_question"],
        users_per_number_max=values["users_per_number_max"],
        code_channels=channels_of(values["code_channels"]),
    )


def code_policies_of(settings: Settings) -> Callable[[str], CodePolicy]:
    """Return what gives each service the bounds of its codes: its own, or the installation's."""
    common = _code_policy_of(settings, ServiceSettings())
    own = {service: _code_policy_of(settings, changes) for service, changes in settings.services.items()}
    return lambda service: own.get(service, common)


def _code_policy_of(settings: Settings, changes: ServiceSettings) -> CodePolicy:
    values = settings.values_of(changes)
    return CodePolicy(
        number_max=settings.codes_per_number_max,
        block_max=values["codes_per_block_max"],
        network_max=values["codes_per_network_max"],
        rate_max=values["codes_per_service_max"],
    )


class Policies:
    """Gives each service its policy and the bounds of its codes, by the settings that were taken last."""

    def __init__(self, settings: Settings) -> None:
        self.take(settings)

    def take(self, settings: Settings) -> None:
        """Go by other settings from now on; a call under way may still go by those before."""
        self._policy_for, self._code_policy_for = policies_of(settings), code_policies_of(settings)

    def policy_for(self, service: str) -> Policy:
        """Return a service's policy."""
        return self._policy_for(service)

    def code_policy_for(self, service: str) -> CodePolicy:
        """Return the bounds of a service's codes."""
        return self._code_policy_for(service)


class OfCallers(NamedTuple):
    """The node's callers, as registrations ask and tell about them."""

    agreed: Callable[[str], frozenset[int] | None]
    """Gives the operators that a service has agreements with; None: all of them."""
    asked: Callable[[int], None]
    """Counts numbers of users that the caller of this thread's call brings."""


@dataclass(frozen=True, slots=True)
class NodeRegistrations:
    """The parts of a node that know registrations."""

    service: RegistrationService
    timekeeper: Timekeeper
    withdrawer: Withdrawer
    feeds: Feeds
    delivery: Delivery
    judge: CodeJudge
    enquiries: Enquiries
    takers: Sequence[Callable[[Settings], None]]
    """Functions that take settings anew."""
    webhooks: WebhookSenders
    importer: Importer
    identifications: Identifications
    vault: Vault
    audit: AuditService
    witness: Witness
    signing_key: Ed25519PrivateKey
    sharing: Sharing
    replica: Replica

    def start(self) -> None:
        """Begin to let time pass, and to follow withdrawals."""
        self.sharing.start()
        self.replica.start()
        self.timekeeper.start()
        self.withdrawer.start()
        self.webhooks.start()
        self.witness.start()
        self.judge.start()

    @property
    def ends(self) -> list[Callable[[], None]]:
        """The ends of what works in the background, once the listeners have stopped."""
        return [
            self.feeds.close,
            self.timekeeper.stop,
            self.withdrawer.stop,
            *(one.stop for one in self.webhooks.senders),
            self.replica.stop,
            self.witness.stop,
            self.judge.stop,
        ]

    @property
    def last_ends(self) -> list[Callable[[], None]]:
        """The ends of what those need: leases and connections."""
        return [self.sharing.stop, self.delivery.close, self.enquiries.close, self.importer.close]


def registrations_of(
    store: Store,
    published: PublishedIndex,
    settings: Settings,
    announce: Announce,
    callers: OfCallers,
    show: Announce,
) -> NodeRegistrations:
    """Put the parts together. `show` gets the codes that are sent to nobody. BadKeys, BadConfiguration."""
    keys = keys_of(store, settings, announce)
    vault, chain = Vault(keys.keyring, secrets.token_bytes), Chain(keys.keyring)
    registrations = store.registrations(chain)
    replica = Replica(settings, store, registrations, chain)
    use_keys(store, registrations, keys.keyring)
    terms = Terms(settings)
    operator_of = partial(_operator_of, published)
    delivery = delivery_of(settings, show, terms, operator_of=operator_of, now=_now)
    exchange = ReceiptExchange(delivery.ledger, store.stray_receipts()) if store.shared else None
    enquiries, judge = enquiries_of(settings), CodeJudge(delivery, registrations.came_back, settings.data_dir, exchange)
    policies = Policies(settings)

    def agrees(service: str, operator_id: int) -> bool:
        operator_ids = callers.agreed(service)
        return operator_ids is None or operator_id in operator_ids

    environment = Environment(
        index=published.get,
        policy_for=policies.policy_for,
        agreed=agrees,
        courier=delivery.courier,
        code_policy_for=policies.code_policy_for,
        now=_now,
        random_below=secrets.randbelow,
        enquirer=enquiries,
        test_codes=settings.test_codes,
    )
    verifier = Verifier(registrations, vault, environment)
    # Users are refreshed by the time of this start: a node that was down for a month must not take it from them.
    steady = NodeClock().tell
    registrar = Registrar(registrations, vault, verifier, now=_now, steady=steady, lists=replica.behind)
    feeds = Feeds()
    registrations.subscribe(feeds.notify)
    history = History(registrations, vault, keys.signing_key)
    importer = Importer(registrations, vault, registrar, environment, steady=steady)
    sharing = Sharing(store.leases(), f"{socket.gethostname()}:{os.getpid()}", partial(_told, published))
    webhooks = senders_of(settings, Source(store.installation_id, store.webhooks(), history, _now), sharing)
    registrations.subscribe(webhooks.notify)
    completion = Completion(registrations, vault, verifier)
    rules = Rules(registrar, completion, history, Reverifier(registrations, vault, verifier, environment), importer)
    service = RegistrationService(rules, callers.asked, now=_now, default_region=settings.default_region)
    revoking = sharing.duty("withdrawals")
    withdrawer = Withdrawer(Withdrawals(registrations.under(revoking.lease), vault, now=_now), revoking)
    delivery.receive(_taker(Inbound(registrations, vault, completion, now=_now), settings.default_region))
    record_kept = timedelta(days=settings.recycled_record_days)
    passing_time = sharing.duty("due times")
    timekeeper = Timekeeper(registrations, TrustedClock(registrations), passing_time, record_kept=record_kept)
    identifications = Identifications(registrations, vault)
    return NodeRegistrations(
        service,
        timekeeper,
        withdrawer,
        feeds,
        delivery,
        judge,
        enquiries,
        [policies.take, terms.take],
        webhooks,
        importer,
        identifications,
        vault,
        AuditService(registrations, keys.signing_key, now=_now, exported=replica.caught_up),
        Witness(registrations.events, keys.signing_key, settings, sharing, now=_now),
        keys.signing_key,
        sharing,
        replica,
    )


def _taker(inbound: Inbound, default_region: str) -> Callable[[str, str], None]:
    """Return what takes a message from somebody; from whom no number can be read, nothing is taken."""

    def take(sender: str, text: str) -> None:
        try:
            number = parse(sender, default_region)
        except NotANumber:
            return
        inbound.take(number, text)

    return take


def _told(published: PublishedIndex) -> NodeReport:
    """Return what this node tells the others of its store."""
    index = published.try_get()
    return NodeReport(version("numcheck"), None if index is None else index.index_version)


def _operator_of(published: PublishedIndex, number: int) -> str:
    """Return the operator that serves a number by the newest index, as the metrics name it."""
    index = published.try_get()
    operator = None if index is None else index.facts(number).serving_operator
    return UNKNOWN_OPERATOR if operator is None else str(operator.operator_id)


def _now() -> datetime:
    return datetime.now(UTC)
