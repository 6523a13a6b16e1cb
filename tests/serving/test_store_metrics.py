"""What the store holds is counted by a watch of its own, and stays known while the store is away."""

import time
from pathlib import Path

import pytest

from numcheck.config import Settings
from numcheck.registrations.registration import VerificationState
from numcheck.registrations.states import RegistrationState
from numcheck.serving import store_watch
from numcheck.serving.store_metrics import store_families
from numcheck.serving.store_watch import StoreWatch
from numcheck.store import Store, Survey, Troubles
from tests.serving.small import ACTIVE_NUMBERS


def samples(watch: StoreWatch) -> dict[tuple[str, ...], float]:
    found = [sample for family in store_families(watch) for sample in family.samples]
    return {(one.name, *one.labels.values()): one.value for one in found}


@pytest.fixture
def watch(data_dir: Path) -> StoreWatch:
    """A watch that has looked once."""
    watch = StoreWatch(Settings(data_dir=data_dir, metrics_listen="127.0.0.1:0"), Troubles())
    watch._look()
    watch.stop()
    return watch


def test_operators_data_and_the_plan_are_counted(watch: StoreWatch, data_dir: Path) -> None:
    """Each operator that supplied data, by its id; each series of the plan; and nobody who supplied nothing."""
    found = samples(watch)
    with Store(data_dir, read_only=True) as store:
        ids = {one.tax_id: str(one.operator_id) for one in store.operators()}
    counted = {name[1]: value for name, value in found.items() if name[0] == "numcheck_active_numbers"}
    assert counted == {ids[tax_id]: len(set(numbers)) for tax_id, numbers in ACTIVE_NUMBERS.items()}
    ages = {name[1]: value for name, value in found.items() if name[0] == "numcheck_data_age_seconds"}
    assert ages.keys() == counted.keys()
    assert min(ages.values()) > 0
    assert {name[1] for name in found if name[0] == "numcheck_plan_age_seconds"} == {"+7 3xx", "+7 4xx", "+7 9xx"}
    assert {name[1]: value for name, value in found.items() if name[0] == "numcheck_held_pushes"} == dict.fromkeys(
        ids.values(), 0
    )
    assert (found["numcheck_store_revision",], found["numcheck_store_answers",]) == (5, 1)
    assert found["numcheck_revocation_lag_seconds",] == 0


def test_what_was_known_stays_while_the_store_is_away(watch: StoreWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The revision among it, from which the index's lag is told."""
    before = samples(watch)
    monkeypatch.setattr(store_watch, "ANSWERS_WITHIN_S", 0.0)
    after = samples(watch)
    assert after["numcheck_store_answers",] == 0
    assert after["numcheck_active_numbers", "1"] == before["numcheck_active_numbers", "1"]
    assert after["numcheck_store_revision",] == 5


def test_registrations_verifications_and_events_are_told_by_their_words(watch: StoreWatch) -> None:
    """Every state of a registration is there, also where nobody stands in it."""
    watch.survey = Survey(
        registration_counts={RegistrationState.VERIFIED: 3},
        due_counts={1: 0, 7: 2, 30: 3},
        verification_counts={("code", VerificationState.CONFIRMED): 2},
        lost_versions={3: 2},
        lost_revision_count=4,
        oldest_withdrawal_us=int((time.time() - 60) * 1e6),
    )
    watch.event_counts.update({"confirmed": 2})
    found = samples(watch)
    states = {name[1]: value for name, value in found.items() if name[0] == "numcheck_registrations"}
    assert states == {state.name.lower(): 3 * (state is RegistrationState.VERIFIED) for state in RegistrationState}
    due = {name[1]: value for name, value in found.items() if name[0] == "numcheck_registrations_due"}
    assert due == {"1": 0, "7": 2, "30": 3}
    assert found["numcheck_verifications", "code", "confirmed"] == 2
    assert found["numcheck_events_total", "confirmed"] == 2
    assert 60 <= found["numcheck_revocation_lag_seconds",] < 120
    assert (found["numcheck_lost_versions", "3"], found["numcheck_lost_revisions",]) == (2, 4)
