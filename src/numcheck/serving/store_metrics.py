"""Contents of the store, for Prometheus, as the watch over it counted last: also while the store is away."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from numcheck.registrations.registration import VerificationState
from numcheck.registrations.states import RegistrationState
from numcheck.serving.store_watch import StoreWatch
from numcheck.store import DUE_WITHIN_DAYS, Survey

MICROSECOND = 1e-6
VERIFICATION_STATES = {value: name.lower() for name, value in vars(VerificationState).items() if name.isupper()}


def store_families(watch: StoreWatch) -> Iterator[Metric]:
    """Give every family, each time of the same names."""
    yield from _of_the_store(watch)
    yield from _of_operators(watch.survey or Survey(), time.time())
    yield from _of_registrations(watch.survey or Survey(), time.time())
    yield _counter(
        "numcheck_events", "Events of the chain", ("kind",), {(kind,): n for kind, n in watch.event_counts.items()}
    )


def _of_the_store(watch: StoreWatch) -> Iterator[Metric]:
    yield GaugeMetricFamily("numcheck_store_answers", "Whether the store answers", value=watch.answers)
    revision, latency_s = watch.revision, watch.latency_s
    yield _gauge("numcheck_store_revision", "The newest that was seen", (), {} if revision is None else {(): revision})
    yield _gauge("numcheck_store_latency_seconds", "Of the last look", (), {} if latency_s is None else {(): latency_s})
    yield _durations(watch)
    failures = 0 if watch.troubles is None else watch.troubles.failure_count
    yield CounterMetricFamily("numcheck_store_failures", "Uses of the store that failed", value=failures)


def _durations(watch: StoreWatch) -> Metric:
    family = HistogramMetricFamily("numcheck_store_duration_seconds", "Of its transactions", labels=("use",))
    for use, one in ({} if watch.troubles is None else watch.troubles.durations).items():
        family.add_metric((use,), buckets_of(one.bounds_s, one.counts), one.sum_s)
    return family


def buckets_of(bounds_s: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return a histogram's buckets as Prometheus has them: each with what is in those below it."""
    names = ("+Inf" if bound == float("inf") else str(bound) for bound in bounds_s)
    return list(zip(names, map(float, accumulate(counts)), strict=True))


def _of_operators(survey: Survey, now_s: float) -> Iterator[Metric]:
    def by_operator(values: Mapping[int, float]) -> dict[tuple[str], float]:
        return {(str(operator_id),): value for operator_id, value in values.items()}

    ages_s = {operator_id: _age_s(at_us, now_s) for operator_id, at_us in survey.data_times_us.items()}
    label = ("operator",)
    yield _gauge("numcheck_active_numbers", "By operator", label, by_operator(survey.active_counts))
    yield _gauge("numcheck_data_age_seconds", "Of an operator's data", label, by_operator(ages_s))
    yield _gauge("numcheck_lost_revisions", "Of the last losses of history", (), {(): survey.lost_revision_count})
    yield _gauge("numcheck_lost_versions", "Of an operator's data", label, by_operator(survey.lost_versions))
    yield _gauge("numcheck_held_pushes", "Pushes that wait to be confirmed", label, by_operator(survey.held_counts))
    plan = {(series,): _age_s(at_us, now_s) for series, at_us in survey.plan_times_us.items()}
    yield _gauge("numcheck_plan_age_seconds", "Of a series of the plan", ("series",), plan)


def _of_registrations(survey: Survey, now_s: float) -> Iterator[Metric]:
    states = {(state.name.lower(),): survey.registration_counts.get(state, 0) for state in RegistrationState}
    yield _gauge("numcheck_registrations", "By state", ("state",), states)
    due = {(str(days),): survey.due_counts.get(days, 0) for days in DUE_WITHIN_DAYS}
    yield _gauge("numcheck_registrations_due", "That are to be refreshed within so many days", ("days",), due)
    steps = {
        (method, VERIFICATION_STATES.get(state, "")): count
        for (method, state), count in survey.verification_counts.items()
    }
    yield _gauge("numcheck_verifications", "Those that are kept", ("method", "state"), steps)
    oldest_us = survey.oldest_withdrawal_us
    lag_s = 0 if oldest_us is None else _age_s(oldest_us, now_s)
    yield _gauge("numcheck_revocation_lag_seconds", "Of the oldest that is to be revoked", (), {(): lag_s})


def _age_s(at_us: int, now_s: float) -> float:
    return max(now_s - at_us * MICROSECOND, 0)


def _gauge(name: str, meaning: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    return _filled(GaugeMetricFamily(name, meaning, labels=labels), values)


def _counter(name: str, meaning: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    return _filled(CounterMetricFamily(name, meaning, labels=labels), values)


def _filled(family: Any, values: Mapping[Any, float]) -> Metric:
    for label_values, value in sorted(values.items()):
        family.add_metric(label_values, value)
    filled: Metric = family
    return filled
