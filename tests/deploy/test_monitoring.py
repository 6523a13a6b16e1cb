"""The alerts and the dashboard ask for what a node exports, and every alert fires when its cause is made."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from numcheck.index import PublishedIndex
from numcheck.serving.metrics import FollowerCollector
from tests.serving.command import run, serving
from tests.serving.small import fill

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = (DEPLOY / "alerts.yml").read_text()
PROMETHEUS_OWN = {"up", "instance", "le"}
WORDS = {  # of PromQL
    *("sum", "min", "by", "rate", "increase", "absent", "and", "offset", "max", "histogram_quantile", "s", "m", "d"),
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("NUMCHECK_TEST_STRANGERS") != "required",
    reason="promtool (apt install prometheus) is not installed",
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a node with a courier exports, once it has counted all that is in the store."""
    data_dir = fill(tmp_path_factory.mktemp("node") / "var")
    env = {
        "NUMCHECK_METRICS_LISTEN": "127.0.0.1:0",
        "NUMCHECK_CODE_DELIVERY": "console",
        "NUMCHECK_THREADS": "1",
    }
    with serving(data_dir, env=env) as node:
        address = node.process.line_with("metrics ready on ").split("http://")[1].split("/")[0]
        assert run("check", "--server", node.address, "79161234567").status == 0
        told = ""
        while "numcheck_data_age_seconds{" not in told or "CheckNumber" not in told:  # each is counted in a moment
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                told = answer.read().decode()
    return told


def of_a_follower() -> Iterable[Any]:
    """The metrics that a follower exports."""
    following: Any = SimpleNamespace(lag=0, age_s=1.0, states=[SimpleNamespace(name="one", followed=True)])
    return FollowerCollector(
        [], PublishedIndex(), following, callers_revision=lambda: 1, asked=dict, budgets=list
    ).collect()


@pytest.fixture(scope="module")
def exported(text: str) -> dict[str, set[str]]:
    """Every sample's name, with the labels that it may have."""
    found: dict[str, set[str]] = {}
    for family in chain(text_string_to_metric_families(text), of_a_follower()):
        found.setdefault(family.name, set())
        found.setdefault(f"{family.name}_total", set()) if family.type == "counter" else None
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries() -> list[str]:
    dashboard = json.loads((DEPLOY / "dashboard.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = re.findall(r"""expr: (?:'(.*)'|"(.*)")$""", ALERTS, re.MULTILINE)
    return [*shown, *("".join(one) for one in asked)]


# Of what a courier, a link to an SMSC or registrations bring there are no samples here: their labels stand in
# docs/metrics.md, which is held to the code.
def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(numcheck_\w+)` \| \w+ \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", labels))) for name, labels in rows}


@pytest.mark.parametrize("query", queries())
def test_every_query_asks_for_what_a_node_exports(query: str, exported: dict[str, set[str]]) -> None:
    """Each metric is exported under that name, and each label that is asked for is one of its own."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", query)
    names = set(re.findall(r"\b[a-z_]+\b", re.sub(r"\{[^}]*\}|by \([^)]*\)|offset \w+", "", bare))) - WORDS
    assert names
    assert [name for name in names - PROMETHEUS_OWN if name not in exported] == []
    labels = set(re.findall(r"(\w+)=", bare)) | {
        one for by in re.findall(r"by \(([^)]*)\)", bare) for one in by.split(", ")
    }
    known = PROMETHEUS_OWN | {"job"}
    for name in names & exported.keys():
        known |= exported[name] | documented().get(name.removesuffix("_bucket"), set())
    assert labels <= known


def test_every_alert_says_what_to_do_and_is_tried() -> None:
    """Its runbook is a heading of docs/operations.md, and promtool has a test in which it fires."""
    names = re.findall(r"- alert: (\w+)", ALERTS)
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
    runbooks = re.findall(r"runbook: docs/operations.md#([\w-]+)", ALERTS)
    assert len(runbooks) == len(names) == len(set(names))
    assert set(runbooks) <= anchors
    tried = (DEPLOY / "alerts_test.yml").read_text()
    fired = re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", tried)
    quiet = re.findall(r"alertname: (\w+)\n\s+exp_alerts: \[\]", tried)
    assert sorted(fired) == sorted(names)
    assert sorted(quiet) == sorted(names)


@needs_promtool
@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_takes_the_alerts_and_sees_each_fire(command: tuple[str, ...]) -> None:
    ended = subprocess.run(["promtool", *command], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_names(text: str) -> None:
    """Units and suffixes are as Prometheus asks; those of the process are not ours."""
    ended = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("numcheck")] == []
