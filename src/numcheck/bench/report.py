"""A study as text, as JSON, and as one page that needs nothing else."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from html import escape
from typing import Any

from numcheck.bench.charts import Axis, Series, bars, line_chart
from numcheck.bench.generator import LACKING
from numcheck.bench.measure import Figure
from numcheck.bench.study import CURVES, Study
from numcheck.bench.workloads import NOT_CALLED, short

FORMAT = 1
SYNTHETIC = "SYNTHETIC active numbers of the bundled plan"
FULL = {
    "client": "the generator's cores were full: the node could do more than was asked, so plan with a second of a core",
    "node": "the node's cores were full: this is what it can do on them; of methods that Python answers, one core",
    "disk": "the disk was waited for most of the time",
    "others": "other programs took a quarter of a core or more: on a quiet machine it would be more",
    "nothing": "nothing was full: more calls in flight would bring more",
}
"""By what was full, its meaning."""
COLUMNS = (
    "curve",
    "method",
    "#at",
    "#calls/s",
    "#a core",
    "#p50 ms",
    "#p99 ms",
    "#node",
    "#client",
    "full",
    "failed",
)


def as_json(study: Study, at: datetime) -> dict[str, Any]:
    """Return the report for other programs, and for `numcheck bench plan`."""
    options = asdict(study.options)
    return {
        "format": FORMAT,
        "at": at.isoformat(),
        "machine": study.machine,
        "options": options | {"curves": sorted(study.options.curves), "methods": sorted(study.options.methods or ())},
        "cores": {"node": list(study.cores.node), "client": list(study.cores.client), "shared": study.cores.shared},
        "generator": LACKING or "native",
        "facts": study.facts,
        "figures": [figure.as_dict() for figure in study.figures],
        "not_called": NOT_CALLED,
    }


def rows_of(study: Study) -> list[list[str]]:
    """Return a row of COLUMNS for each figure."""
    return [
        [
            one.curve,
            short(one.method),
            _count(one.at),
            _count(one.calls_per_s),
            _count(one.calls_per_core_s),
            _ms(one.p50_s),
            _ms(one.p99_s),
            _cores(one.node_cores),
            _cores(one.client_cores),
            one.full,
            failed(one),
        ]
        for one in study.figures
    ]


def failed(figure: Figure) -> str:
    """Return how calls ended that were not answered OK; empty if all were."""
    return ", ".join(f"{count:,} {how.replace('_', ' ')}" for how, count in figure.failures.items())


def _count(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ms(seconds: float | None) -> str:
    return "never" if seconds is None else _count(1e3 * seconds)


def _cores(cores: float | None) -> str:
    return "" if cores is None else f"{cores:.2f}"


def facts_of(study: Study) -> list[tuple[str, str]]:
    """Return what no load tells, as names and values."""
    facts = study.facts
    found = [("active numbers", f"{study.options.numbers:,} {SYNTHETIC}")] if facts else []
    if "door" in facts:
        found.append(("the node's door", f"{facts['door']}, cores {_listed(study.cores.node)}"))
    found.append(("the client", f"{LACKING or 'native'}; cores {_listed(study.cores.client)}"))
    if study.cores.shared:
        found.append(("cores", "node and client share a core: rates are lower than with one each"))
    if "sync_s" in facts:
        found.append(("4 KiB appended and durable", f"{1e3 * facts['sync_s']:.3g} ms"))
    if "push_s" in facts:
        found.append(("a push of 1,000 numbers, until it is answered from", f"{1e3 * facts['push_s']:.0f} ms"))
    found += [
        (f"index of {numbers:,} numbers", f"{size / 1e6:,.1f} MB") for numbers, size in facts.get("index_sizes", [])
    ]
    if sizes := facts.get("store_sizes"):
        found.append(("a registration in the store", f"{bytes_per_registration(sizes):,.0f} bytes"))
    return found


def bytes_per_registration(sizes: Sequence[Sequence[float]]) -> float:
    """Return how much the store grew for each registration; *sizes* are counts that came, and bytes that it grew by."""
    return sum(size for _, size in sizes) / max(sum(count for count, _ in sizes), 1)


def _listed(cores: Sequence[int]) -> str:
    return ", ".join(map(str, cores)) or "not known"


# --- the page


def as_page(study: Study, at: datetime) -> str:
    """Return the page: no script, no font and no picture from anywhere else."""
    head = f"Measured by <code>numcheck bench</code> at {at:%Y-%m-%d %H:%M} UTC."
    load = study.facts.get("load_average")
    if load is not None:
        head += f" Load of the machine when it began: {load:.1f}."
    sections = [section for name in CURVES if (section := _section(study, name))]
    return PAGE.format(
        style=STYLE,
        head=head,
        facts=_table(("", ""), [*study.machine.items(), *facts_of(study)]),
        full=_table(("full", "which means"), list(FULL.items())),
        sections="\n".join(sections),
        not_called=_table(("method", "why"), [(short(path), why) for path, why in NOT_CALLED.items()]),
    )


def _section(study: Study, name: str) -> str:
    figures = [one for one in study.figures if one.curve == name]
    if not figures:
        return ""
    charts = "\n".join(f"<figure>{chart}</figure>" for chart in CHARTS[name](figures) if chart)
    head = (*(column.removeprefix("#") for column in COLUMNS[1:]),)
    rows = [row[1:] for row in rows_of(study) if row[0] == name]
    table = _table(head, rows, numeric=[column.startswith("#") for column in COLUMNS[1:]])
    return f'<section><h2>{escape(_sentence(CURVES[name]))}</h2><div class="charts">{charts}</div>{table}</section>'


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _by_method(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    found: dict[str, list[Figure]] = {}
    for one in figures:
        found.setdefault(one.method, []).append(one)
    return found


def _points(figures: Sequence[Figure], value: str) -> list[tuple[float, float]]:
    return [(one.at, found) for one in figures if (found := getattr(one, value)) is not None]


def _numbers(figures: Sequence[Figure], value: str) -> list[tuple[float, float]]:
    return [(one.at, one.items * found) for one in figures if (found := getattr(one, value)) is not None]


def _latency(name: str, figures: Sequence[Figure], x: Axis) -> str:
    lines = [
        Series(label, [(at, 1e3 * seconds) for at, seconds in _points(figures, value)])
        for label, value in (("half within", "p50_s"), ("99% within", "p99_s"), ("99.9% within", "p999_s"))
    ]
    return line_chart(name, x, Axis("milliseconds", by_powers=True), lines)


def _rates(name: str, figures: Sequence[Figure], x: Axis, *, unit: str = "calls a second") -> str:
    values = _numbers if unit.startswith("numbers") else _points
    lines = [
        Series("by the clock", values(figures, "calls_per_s")),
        Series("of a core of the node", values(figures, "calls_per_core_s")),
    ]
    return line_chart(name, x, Axis(unit, by_powers=True), lines)


def _batch_charts(figures: Sequence[Figure]) -> list[str]:
    x = Axis("numbers a call", by_powers=True)
    return [
        _rates("Calls by the numbers in them", figures, x),
        _rates("Numbers by the numbers in a call", figures, x, unit="numbers a second"),
    ]


def _plain_charts(name: str) -> Any:
    x = Axis(name, by_powers=True)
    return lambda figures: [_rates(f"Calls by {name}", figures, x), _latency(f"Latency by {name}", figures, x)]


def _rate_charts(figures: Sequence[Figure]) -> list[str]:
    x = Axis("calls that are due in a second")
    return [_latency(f"{short(path)}: latency by load", own, x) for path, own in _by_method(figures).items()]


def _registration_charts(figures: Sequence[Figure]) -> list[str]:
    lines = [Series(short(path), _points(own, "calls_per_core_s")) for path, own in _by_method(figures).items()]
    x, y = Axis("registrations in the store", by_powers=True), Axis("calls a second of a core")
    return [line_chart("Calls by registrations", x, y, lines)]


def _population_charts(figures: Sequence[Figure]) -> list[str]:
    x = Axis("active numbers", by_powers=True)
    return [_rates("Numbers by the size of the index", figures, x, unit="numbers a second")]


def _method_charts(figures: Sequence[Figure]) -> list[str]:
    """Bars, the quickest first: a second of the node's processor time, by powers of ten."""
    best: dict[str, float] = {}
    for one in figures:
        best[one.method] = max(best.get(one.method, 0.0), one.calls_per_core_s or one.calls_per_s)
    ordered = sorted(best.items(), key=lambda pair: -pair[1])
    return [bars("Calls a second of a core of the node, by method", [(short(path), rate) for path, rate in ordered])]


CHARTS: dict[str, Any] = {
    "methods": _method_charts,
    "batch": _batch_charts,
    "connections": _plain_charts("connections"),
    "in-flight": _plain_charts("calls in flight a connection"),
    "rate": _rate_charts,
    "registrations": _registration_charts,
    "population": _population_charts,
    "threads": _plain_charts("event loops"),
}
"""By curve, how its figures are drawn."""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool] = ()) -> str:
    right = [' class="number"' if place < len(numeric) and numeric[place] else "" for place in range(len(head))]
    lines = ['<div class="wide"><table>']
    if any(head):
        cells = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(right, head, strict=True))
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    for row in rows:
        cells = "".join(f"<td{kind}>{escape(str(cell))}</td>" for kind, cell in zip(right, row, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def dumped(report: dict[str, Any]) -> str:
    """Return the report's JSON."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --soft: #60646c; --rule: #d9d9e0; --band: #f4f5f7;
  --line-1: #0b68cb; --line-2: #c2410c; --line-3: #15803d; --line-4: #7e22ce; --line-5: #a16207; --line-6: #be185d; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --ink: #e6e8eb; --soft: #a0a6b0; --rule: #353a43;
  --band: #1c2026; --line-1: #6cb2ff; --line-2: #ff9a62; --line-3: #5fd08b; --line-4: #c79bff; --line-5: #e6c34a;
  --line-6: #ff8ab8; } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb; --band: #f4f4f4;
  --line-1: #0b4fa0; --line-2: #b03000; --line-3: #0d6a30; --line-4: #6a1ab0; --line-5: #7a4a00; --line-6: #a01050; }
  section, figure, tr { break-inside: avoid; } main { max-width: none; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; } h2 { margin: 2.2rem 0 .6rem; font-size: 1.15rem; }
p { max-width: 75ch; } .soft { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1rem; }
figure { margin: 0; } svg { width: 100%; max-width: 720px; height: auto; font: 12px system-ui, sans-serif; }
.grid { stroke: var(--rule); stroke-width: 1; } .tick { fill: var(--soft); } .axis { fill: var(--ink); }
.title { fill: var(--ink); font-weight: 600; font-size: 14px; } .bar { fill: var(--line-1); }
polyline { fill: none; stroke-width: 2; } svg line:not(.grid) { stroke-width: 3; }
.line-1 { stroke: var(--line-1); } circle.line-1 { fill: var(--line-1); }
.line-2 { stroke: var(--line-2); } circle.line-2 { fill: var(--line-2); }
.line-3 { stroke: var(--line-3); } circle.line-3 { fill: var(--line-3); }
.line-4 { stroke: var(--line-4); } circle.line-4 { fill: var(--line-4); }
.line-5 { stroke: var(--line-5); } circle.line-5 { fill: var(--line-5); }
.line-6 { stroke: var(--line-6); } circle.line-6 { fill: var(--line-6); }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; font-size: 13px; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } tbody tr:nth-child(even) { background: var(--band); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>numcheck: what this machine does</title><style>{style}</style></head>
<body><main>
<h1>What this machine does</h1>
<p class="soft">{head}</p>
{facts}
<h2>How to read it</h2>
<p>A figure is of calls answered OK. Latency counts from the moment when a call was due, and calls that were never
answered count as the slowest. “A core” is a second of the node's processor time: what one core does that has nothing
else to do. Node and client are the cores that each kept busy. “Full” says what set the bound:</p>
{full}
{sections}
<section><h2>Methods that are not measured as a rate of calls</h2>{not_called}</section>
</main></body></html>
"""
