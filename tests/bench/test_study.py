"""Curves that start nodes of their own."""

import pytest

from numcheck.bench import study
from numcheck.bench.generator import LACKING
from numcheck.bench.resources import Cores, cores_here
from numcheck.bench.study import CURVES, Options, Study
from numcheck.bench.workloads import CHECK_NUMBERS, WORKLOADS, short
from tests.serving.small import fill

pytestmark = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
OPTIONS = Options(numbers=1_000, seconds=0.05)
CORES = Cores(tuple(cores_here()[:1]), tuple(cores_here()[-1:]))


def test_nodes_of_other_sizes_and_loops_are_started_and_asked(tmp_path, monkeypatch):
    """A node for each population, with the size of its index and its memory; and one for each count of event loops."""
    monkeypatch.setattr(study, "_steps", lambda largest: [largest])
    monkeypatch.setattr(study, "_thread_counts", lambda _cores: [1])
    data_dir = fill(tmp_path / "var")
    found = Study({}, OPTIONS, CORES)
    figures = [
        *study._by_population(found, tmp_path, CORES, OPTIONS),
        *study._by_threads(data_dir, cores_here(), OPTIONS),
    ]
    assert [(one.curve, one.at, one.method) for one in figures] == [
        ("population", 1_000, CHECK_NUMBERS),
        ("threads", 1, CHECK_NUMBERS),
    ]
    assert all(one.p50_s and one.failures == {} for one in figures)  # answered, in time or soon after
    ((numbers, size),), ((_, memory),) = found.facts["index_sizes"], found.facts["node_memory"]
    assert numbers == 1_000
    assert size > 0
    assert memory > 10_000_000


def test_progress_knows_how_many_figures_there_will_be():
    """Of a curve as many as are measured: ten at the most beside it."""
    assert study.figure_count(Options(curves=frozenset({"batch", "connections"})), CORES) == 11
    assert study.figure_count(Options(curves=frozenset({"population"}), numbers=100), CORES) == 3


def test_plain_client_measures_no_rate_and_no_stream(monkeypatch):
    """What it cannot do is left out, and not measured wrongly."""
    monkeypatch.setattr(study, "LACKING", "no generator")
    able = study._able(Options())
    assert able.curves == CURVES.keys() - {"rate"}
    streams = {path for path, one in WORKLOADS.items() if one.streams}
    assert set(able.measured_methods) == WORKLOADS.keys() - streams
    assert {short(path) for path in streams} == {
        "StreamCheckNumbers",
        "ImportRegistrations",
        "ReverifyRegistrations",
        "ExportEvents",
        "ListRowDigests",
    }
