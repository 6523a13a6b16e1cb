"""What a messenger needs, from a report made by hand: by worked examples, and never less for more."""

from dataclasses import fields, replace
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.bench.plan import Curve, Measured, Wanted, plan, quantity
from numcheck.bench.workloads import CHECK_NUMBERS, COMPLETE, REFRESH, REGISTER
from numcheck.errors import BadConfiguration


def figure(curve: str, method: str, at: float, per_core: float, items: int = 1, others: float = 0.0) -> dict:
    return {
        "curve": curve, "method": method, "at": at, "items": items, "calls_per_core_s": per_core,
        "others_cores": others, "client": "native",
    }  # fmt: skip


REPORT = {
    "format": 1,
    "options": {"numbers": 10_000_000},
    "cores": {"shared": False},
    "facts": {
        "sync_s": 0.001,
        "index_sizes": [[1_000_000, 2_000_000], [10_000_000, 11_000_000]],  # 1 MB and a byte a number
        "node_memory": [[1_000_000, 100_000_000], [10_000_000, 100_000_000]],
        "store_sizes": [[1_000, 2_000_000], [10_000, 20_000_000]],  # 2,000 bytes each
    },
    "figures": [
        figure("batch", CHECK_NUMBERS, 1, 500_000),
        figure("batch", CHECK_NUMBERS, 100, 50_000, items=100),
        figure("population", CHECK_NUMBERS, 1_000_000, 10_000, items=10_000),
        figure("population", CHECK_NUMBERS, 10_000_000, 5_000, items=10_000),
        figure("registrations", REGISTER, 1_000, 5_000),
        figure("registrations", REGISTER, 100_000_000, 5_000),
        figure("methods", COMPLETE, 1, 1_000),
        figure("methods", COMPLETE, 128, 5_000),
        figure("methods", REFRESH, 128, 2_500),
        figure("threads", CHECK_NUMBERS, 16, 500_000),
    ],
}
SMALL = Wanted(users=1_000_000, registrations_per_s=300, checks_per_s=600_000, numbers=10_000_000)


def needs_of(wanted: Wanted, report: dict = REPORT) -> dict:
    return {need.what: need for need in plan(wanted, Measured.of(report))}


def test_small_messenger_needs_two_machines_and_no_follower():
    """600,000 calls of 2 us are 1.2 cores: 2 at 60%. 300 times 400 us are 0.12 cores, and 0.095 refreshes of 400 us a
    second next to nothing: 0.2."""
    needs = needs_of(SMALL)
    assert needs["cores for checks"].value == pytest.approx(2.0)
    assert needs["cores for registrations"].value == pytest.approx(0.2, rel=1e-3)
    assert (needs["nodes"].value, needs["followers"].value, needs["machines"].value) == (2, 0, 2)
    assert needs["memory of a node"].value == pytest.approx(1.25 * (100e6 + 2 * 11e6))
    assert needs["memory of all"].value == 2 * needs["memory of a node"].value
    assert needs["disk of a node, for the index"].value == pytest.approx(33e6)
    assert needs["disk of the store"].value == pytest.approx(2 * 2_000 * 1e6)
    assert "SQLite, and a back-up for the node that is spare" in needs


def test_checks_that_outgrow_a_machine_get_followers():
    """6 million calls of 2 us are 12 cores, 20 at 60%: more than a machine's 15 beside Python's, so two followers and a
    spare one; nodes are on a machine of their own, with a spare one."""
    needs = needs_of(replace(SMALL, checks_per_s=6_000_000))
    assert needs["cores for checks"].value == pytest.approx(20.0)
    assert (needs["followers"].value, needs["machines"].value) == (3, 5)
    assert needs["memory of all"].value == pytest.approx(5 * needs["memory of a node"].value)


def test_registrations_that_outgrow_one_core_of_python_need_a_shared_database():
    """6,000 times 400 us are 2.4 cores, 4 at 60%: four nodes and a spare one."""
    needs = needs_of(replace(SMALL, registrations_per_s=6_000, users=1))
    assert needs["cores for registrations"].value == pytest.approx(4.0)
    assert needs["nodes"].value in (5, 6)  # the refreshes of one user in a year may round it up
    assert "no curve" in needs["PostgreSQL"].warning


def test_slow_disk_needs_another_database_though_one_node_would_do():
    """Two commits a second of 0.3 s are more than half of its time."""
    slow = REPORT | {"facts": REPORT["facts"] | {"sync_s": 0.3}}
    assert "PostgreSQL" in needs_of(SMALL, slow)


def test_batches_need_fewer_cores():
    """6,000 calls of 20 us are 0.12 cores, 0.2 at 60%."""
    assert needs_of(replace(SMALL, batch=100))["cores for checks"].value == pytest.approx(0.2)


def test_larger_index_costs_what_its_curve_says_beyond_its_end():
    """A number took twice as long with ten times as many: with a hundred times 10 million it is four times, as the
    curve goes on by powers; its index goes on by its share."""
    needs = needs_of(replace(SMALL, numbers=1_000_000_000))
    assert needs["cores for checks"].value == pytest.approx(8.0)
    assert needs["cores for checks"].warning == "extrapolated: measured up to 10,000,000, wanted 1,000,000,000"
    assert needs["disk of a node, for the index"].value == pytest.approx(3 * 1_001e6)


def test_nothing_is_extrapolated_within_what_was_measured():
    wanted = replace(SMALL, users=11_000)
    assert [need.warning for need in plan(wanted, Measured.of(REPORT)) if need.warning] == []


def test_doubts_about_the_whole_report_are_told():
    busy = figure("batch", CHECK_NUMBERS, 1, 500_000, others=0.5)
    report = REPORT | {"figures": [*REPORT["figures"], busy], "cores": {"shared": True}}
    assert Measured.of(report).warnings == (
        "other programs were at work during 1 of 11 figures: measure when it is quiet",
        "node and client shared a core while they were measured",
    )


amounts = st.floats(0, 1e9)
wanteds = st.builds(
    Wanted,
    users=amounts,
    registrations_per_s=st.floats(0, 1e6),
    checks_per_s=amounts,
    numbers=amounts,
    batch=st.integers(1, 65_536),
    cores_per_node=st.integers(2, 128),
)
costs = st.lists(
    st.tuples(st.floats(1, 1e9), st.floats(1, 1e7)), min_size=1, max_size=5, unique_by=lambda pair: pair[0]
)


@st.composite
def reports(draw) -> dict:
    """Reports of any machine: costs may fall and rise, as noise has it."""
    figures = [
        figure(curve, method, at, rate)
        for curve, method in (("batch", CHECK_NUMBERS), ("population", CHECK_NUMBERS), ("registrations", REGISTER))
        for at, rate in draw(costs)
    ]
    figures += [figure("methods", method, 128, draw(st.floats(1, 1e6))) for method in (COMPLETE, REFRESH)]
    sizes = [[at, size] for at, size in draw(costs)]
    return REPORT | {"figures": figures, "facts": dict.fromkeys(("index_sizes", "node_memory", "store_sizes"), sizes)}


@given(reports(), wanteds, st.sampled_from(["users", "registrations_per_s", "checks_per_s", "numbers"]), amounts)
def test_who_wants_more_never_needs_less(report, wanted, what, more):
    """Of anything: cores, nodes, followers, machines, memory, disk; and a shared database stays one."""
    measured = Measured.of(report)
    larger = replace(wanted, **{what: getattr(wanted, what) + more})
    for less, greater in zip(plan(wanted, measured), plan(larger, measured), strict=True):
        assert greater.value >= less.value or isclose(greater.value, less.value, rel_tol=1e-9), less.what


@given(costs, st.floats(0.1, 1e12))
def test_curve_passes_its_points_and_never_falls(points, place):
    for by_powers in (True, False):
        curve = Curve.of("any", points, by_powers=by_powers)
        assert all(curve.at(at) == pytest.approx(value) for at, value in curve.points)
        assert curve.at(place) <= curve.at(2 * place) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("text", "value"), [("100M", 100e6), ("50k/s", 50e3), ("1.5M/s", 1.5e6), ("1,5M", 1.5e6), ("250", 250), ("2G", 2e9)]
)
def test_quantities_are_read_as_people_write_them(text, value):
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "M", "-1", "1e6", "10m", "1 M/h", "1M users"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)


@pytest.mark.parametrize("curve", ["batch", "population", "registrations", "methods"])
def test_report_without_a_curve_is_refused_by_its_name(curve):
    lacking = REPORT | {"figures": [one for one in REPORT["figures"] if one["curve"] != curve]}
    with pytest.raises(BadConfiguration, match=rf"no curve .?{curve}.*--curves batch,methods,"):
        Measured.of(lacking)


@pytest.mark.parametrize("report", [{}, {"format": 2, "figures": []}, {"format": 1, "figures": None}])
def test_what_is_no_report_is_refused(report):
    with pytest.raises(BadConfiguration, match="no report"):
        Measured.of(report)


def test_everything_that_is_wanted_has_a_say():
    """Each field of Wanted changes something that is needed."""
    wanted = replace(SMALL, checks_per_s=6_000_000)
    base = [need.value for need in plan(wanted, Measured.of(REPORT))]
    for one in fields(Wanted):
        changed = replace(wanted, **{one.name: 1_000 * getattr(wanted, one.name)})
        assert [need.value for need in plan(changed, Measured.of(REPORT))] != base, one.name
