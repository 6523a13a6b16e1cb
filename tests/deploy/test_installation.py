"""The files by which a node is installed: each is what its own program takes, and sets what numcheck knows."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from numcheck.config import Settings
from tests.serving.command import ROOT

DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "build/tools/bin"
REQUIRED = os.environ.get("NUMCHECK_TEST_STRANGERS") == "required"
EXTRAS = ("page", "postgresql", "smpp", "traces")  # of an installation
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text())
CLUSTERS = {
    name: {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / f"kubernetes/{name}.yaml").read_text())}
    for name in ("numcheck", "followers")
}
WORKLOADS = {"numcheck": CLUSTERS["numcheck"]["StatefulSet"], "followers": CLUSTERS["followers"]["Deployment"]}
PODS = {name: workload["spec"]["template"]["spec"] for name, workload in WORKLOADS.items()}
OF_SECRETS = {"NUMCHECK_DATABASE_URL": "postgresql://secret@host/numcheck", "NUMCHECK_PUBLISHER_KEY": "ab" * 32}


def said_by(*command: object) -> tuple[int, str]:
    """How a program ended, and all that it wrote."""
    ended = subprocess.run([*map(str, command)], cwd=DEPLOY, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.skipif(not TOOLS.exists() and not REQUIRED, reason="the tools are not installed (make tools)")
@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "Containerfile"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yml"),
        ("kubernetes-validate", "--strict", "-k", "1.32", "kubernetes/numcheck.yaml", "kubernetes/followers.yaml"),
    ],
    ids=lambda command: command[0],
)
def test_tool_finds_nothing_wrong(command: tuple[str, ...]) -> None:
    status, said = said_by(TOOLS / command[0], *command[1:])
    assert status == 0, said


@pytest.mark.skipif(shutil.which("promtool") is None and not REQUIRED, reason="promtool is not installed")
def test_promtool_takes_the_configuration_of_compose() -> None:
    status, said = said_by("promtool", "check", "config", "prometheus.yml")
    assert status == 0, said


# --- the service manager

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
UNIT = DEPLOY / "systemd/numcheck.service"
DISK_WATCH = DEPLOY / "patroni/disk-watch.service"
EXPOSURE_MAX = 2.0  # of 10; 9.6 is a unit that restricts nothing


@needs_systemd
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    unit = tmp_path / "numcheck.service"
    unit.write_text(UNIT.read_text().replace("/opt/numcheck/bin/numcheck", sys.executable))
    others = [shutil.copy(one, tmp_path) for one in (UNIT.with_suffix(".socket"), DISK_WATCH)]
    status, said = said_by("systemd-analyze", "verify", unit, *others)
    assert (status, [line for line in said.splitlines() if "numcheck" in line]) == (0, [])


@needs_systemd
@pytest.mark.parametrize("unit", [UNIT, DISK_WATCH], ids=lambda unit: unit.stem)
def test_a_unit_is_exposed_to_little(unit: Path) -> None:
    status, said = said_by("systemd-analyze", "security", "--offline=true", unit)
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert score is not None, said
    assert float(score[1]) <= EXPOSURE_MAX
    assert status == 0


# --- what is set


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """Each file that sets anything, with its settings; a password has a stand-in."""
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        yield (
            f"kubernetes, {name}",
            {one["name"]: one["value"] if "value" in one else OF_SECRETS[one["name"]] for one in container["env"]},
        )
    for service in ("node", "follower"):
        environment = COMPOSE["services"][service]["environment"]
        yield f"compose, {service}", {k: re.sub(r"\$\{.*?\}", "secret", value) for k, value in environment.items()}
    yield "container", dict(re.findall(r"(NUMCHECK_\w+)=(\S+)", CONTAINERFILE))


@pytest.mark.parametrize(("file", "environment"), list(environments()))
def test_settings_are_known_and_have_values_that_they_may_have(
    file: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pem = tmp_path / "pem"
    pem.write_text("PEM")
    for name, value in environment.items():
        assert name.removeprefix("NUMCHECK_").lower() in Settings.model_fields, name
        monkeypatch.setenv(name, str(pem) if value.startswith("/tls/") else value)
    settings = Settings()
    assert settings.metrics_listen == "0.0.0.0:9464"
    if file != "container":
        assert (settings.listen, settings.tls_key_file is not None) == ("0.0.0.0:50051", True)


def test_nothing_runs_as_root_or_writes_where_it_need_not() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", CONTAINERFILE, re.MULTILINE)
    for pod in PODS.values():
        assert int(user) == pod["securityContext"]["runAsUser"] != 0
        assert pod["securityContext"]["runAsNonRoot"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
    for name in ("node", "follower"):
        service = COMPOSE["services"][name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


def test_probes_ask_what_a_node_answers() -> None:
    for (one_of_it,) in (pod["containers"] for pod in PODS.values()):
        _check_probes(one_of_it)


def _check_probes(container: dict[str, Any]) -> None:
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"grpc": 50051, "metrics": 9464}
    probed = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {one["port"] for one in probed.values()} == {"metrics"}
    assert [one["path"] for one in probed.values()] == ["/healthz", "/healthz", "/readyz"]


def test_nodes_get_the_keys_of_the_first_and_nobody_else_reads_them(tmp_path: Path) -> None:
    """Where the Secret is not there yet nothing is changed; a volume whose modes were widened is mended."""
    assert PODS["numcheck"]["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    (keys,) = PODS["numcheck"]["initContainers"]
    secret, data = tmp_path / "keys", tmp_path / "data"
    script = keys["args"][0].replace("/keys/$name", f"{secret}/$name").replace("/var/lib/numcheck", str(data))
    for one in (secret, data):
        one.mkdir()

    def start() -> dict[str, tuple[str, int]]:
        subprocess.run([*keys["command"], script], check=True)
        return {one.name: (one.read_text(), one.stat().st_mode & 0o777) for one in data.iterdir()}

    assert start() == {}
    (data / "keys.json").write_text("own")
    (data / "keys.json").chmod(0o660)
    assert start() == {"keys.json": ("own", 0o600)}
    for name in ("keys.json", "token.key"):
        (secret / name).write_text("the first's")
    assert start() == dict.fromkeys(("keys.json", "token.key"), ("the first's", 0o600))


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_disruption_leaves_a_node_and_rules_are_of_these_pods(name: str) -> None:
    cluster, workload = CLUSTERS[name], WORKLOADS[name]["spec"]
    labels: dict[str, Any] = workload["template"]["metadata"]["labels"]
    assert 0 < cluster["PodDisruptionBudget"]["spec"]["minAvailable"] < workload["replicas"]
    assert cluster["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert cluster["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert workload["selector"]["matchLabels"] == labels
    assert cluster["Service"]["spec"]["selector"] == labels


def test_followers_ask_the_nodes_that_there_are_and_are_let_through() -> None:
    """By the names that a headless Service gives to the pods of a StatefulSet, and no other's rules than these."""
    nodes, service = CLUSTERS["numcheck"]["StatefulSet"], CLUSTERS["numcheck"]["Service"]
    (follower,) = PODS["followers"]["containers"]
    name, count = nodes["metadata"]["name"], nodes["spec"]["replicas"]
    assert (nodes["spec"]["serviceName"], service["spec"]["clusterIP"]) == (service["metadata"]["name"], "None")
    assert follower["args"] == ["follow", *(f"{name}-{at}.{service['metadata']['name']}:50051" for at in range(count))]
    let_in = CLUSTERS["numcheck"]["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    labels = WORKLOADS["followers"]["spec"]["template"]["metadata"]["labels"]
    assert {"podSelector": {"matchLabels": labels}} in let_in
    (asked,) = (one for one in CLUSTERS["followers"]["NetworkPolicy"]["spec"]["egress"] if "to" in one)
    assert asked["to"] == [{"podSelector": {"matchLabels": nodes["spec"]["template"]["metadata"]["labels"]}}]


def test_an_installation_has_the_versions_that_are_tested() -> None:
    """Each dependency of a release, at the version of the tests' lock, with its hashes."""
    locks = [(ROOT / f"requirements/{name}.lock").read_text() for name in ("server", "dev")]
    served, tested = (set(re.findall(r"^([\w.-]+==[^\s;]+)", lock, re.MULTILINE)) for lock in locks)
    assert served - tested == set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *itertools.chain(*map(project["optional-dependencies"].get, EXTRAS))]
    names = {re.match(r"[\w.-]+", one)[0].lower() for one in asked}
    assert names <= {one.partition("==")[0] for one in served}
    assert len(re.findall("^[a-z]", locks[0], re.MULTILINE)) == len(served)
