"""The page: well-formed, by itself, and with every figure."""

import re
from datetime import UTC, datetime
from html import escape
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.bench.charts import Axis, Series, bars, line_chart, written
from numcheck.bench.measure import Load, Question, figure_of
from numcheck.bench.outcome import Outcome
from numcheck.bench.report import CHARTS, FULL, as_page, rows_of
from numcheck.bench.resources import Cores, Used
from numcheck.bench.study import CURVES, Options, Study
from numcheck.bench.workloads import CHECK_NUMBERS, NOT_CALLED, REGISTER

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
CORES = Cores((0,), (1,))


def study_of(*places: tuple[str, float]) -> Study:
    outcome = Outcome(wall_s=1, begun=100, in_time=90, statuses={0: 90, 8: 10}, answered={1_000_000: 90})
    used = Used(node=0.95, client=0.2, others=0.0, disk=0.0)
    figures = [
        figure_of(CORES, Question(curve, at, Load(method, 4, 16), 1.0), outcome, used)
        for curve, at in places
        for method in (CHECK_NUMBERS, REGISTER)
    ]
    facts = {"sync_s": 0.002, "index_sizes": [[10, 20]], "store_sizes": [[1, 1_500]], "load_average": 0.5}
    return Study({"processor": "a <b> & c"}, Options(), CORES, figures, facts)


def test_figure_says_what_came_of_a_load():
    (figure, _) = study_of(("batch", 1)).figures
    assert (figure.calls_per_s, figure.failures, figure.full) == (90, {"status 8": 10}, "node")
    assert figure.calls_per_core_s == pytest.approx(100 / 0.95)  # refusals take the node's time as well
    assert (figure.p50_s, figure.p99_s) == (0.001, 0.001)


def test_every_curve_has_its_section_with_charts_that_are_well_formed():
    page = as_page(study_of(*((name, at) for name in CURVES for at in (1, 10, 100))), AT)
    charts = re.findall(r"<svg .+?</svg>", page, re.DOTALL)
    assert len(charts) >= len(CURVES)
    for chart in charts:
        root = ElementTree.fromstring(chart)
        assert all(float(one.attrib[name]) >= 0 for one in root.iter("circle") for name in ("cx", "cy"))
    assert set(CHARTS) == set(CURVES)
    for question in CURVES.values():
        assert question[:1].upper() + question[1:] in page
    assert all(escape(why) in page for why in NOT_CALLED.values())
    assert page.count("<td") > len(rows_of(study_of(("batch", 1))))


def test_page_asks_for_nothing_from_anywhere_and_escapes_what_it_is_told():
    page = as_page(study_of(("batch", 1)), AT)
    assert re.findall(r"(?:src|href)=|https?://|@import|url\(|<script", page) == []
    assert "a &lt;b&gt; &amp; c" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_every_word_for_what_was_full_is_explained():
    assert set(FULL) == {"client", "node", "disk", "others", "nothing"}


def test_calls_that_were_never_answered_are_told_in_the_row():
    outcome = Outcome(wall_s=1, begun=10, statuses={0: 1}, in_time=1, answered={1_000: 1}, unanswered=9)
    study = study_of()
    study.figures.append(
        figure_of(CORES, Question("batch", 1, Load(CHECK_NUMBERS, 1, 1), 1.0), outcome, Used(None, 0, None, None))
    )
    (row,) = rows_of(study)
    assert (row[5], row[6], row[-1]) == ("never", "never", "9 unanswered")


@given(
    st.lists(st.tuples(st.floats(1e-9, 1e12), st.floats(1e-9, 1e12)), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_points_of_any_size_stay_within_the_chart(points, x_by_powers, y_by_powers):
    chart = line_chart("any", Axis("x", x_by_powers), Axis("y", y_by_powers), [Series("one", sorted(points))])
    root = ElementTree.fromstring(chart)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for one in root.iter("circle"):
        assert 0 <= float(one.attrib["cx"]) <= width
        assert 0 <= float(one.attrib["cy"]) <= height
    assert 2 <= sum("tick" in one.attrib.get("class", "") for one in root.iter("text")) < 60


def test_chart_without_points_is_none():
    assert line_chart("any", Axis("x", True), Axis("y", True), [Series("one", [(0, 0)])]) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (7, "7"), (1_500, "1.5k"), (2e7, "20M"), (3e9, "3G")]
)
def test_values_are_written_short(value, text):
    assert written(value) == text


@given(st.lists(st.floats(0, 1e12), max_size=8))
def test_bars_stay_within_their_picture_and_the_larger_is_not_the_shorter(values):
    rows = [(f"method {place}", value) for place, value in enumerate(values)]
    chart = bars("any", rows)
    if not any(values):
        assert chart == ""
        return
    root = ElementTree.fromstring(chart)
    widths = [float(one.attrib["width"]) for one in root.iter("rect")]
    shown = [value for value in values if value > 0]
    assert [width for _, width in sorted(zip(shown, widths, strict=True))] == sorted(widths)
    assert all(0 < width <= float(root.attrib["viewBox"].split()[2]) for width in widths)
