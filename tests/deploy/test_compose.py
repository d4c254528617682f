"""Do docker-compose.yml, the Dockerfile and what they mount fit together?

Structure only: no Docker engine takes part.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
import yaml

from streams.config_file import read_definitions
from streams.environment import ENV_PREFIX, Environment, bootstrap, read_environment

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
every_service = pytest.mark.parametrize("name", SERVICES)


def properties(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


KAFKA = properties(ROOT / "deploy" / "kafka" / "server.properties")


@every_service
def test_ports_are_published_on_loopback_only(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+(-\d+)?:\d+", port)


@every_service
def test_image_is_pinned_or_built_here(name):
    image = SERVICES[name]["image"]
    if SERVICES[name].get("build") == ".":
        assert image == "dealpulse"
    else:
        assert re.search(r":v?\d+\.\d+\.\d+$", image)


@every_service
def test_what_is_built_here_is_not_the_first_process(name):
    """That one hears no signal that it does not handle: one that came while Python started was lost, until it was killed 30 s later."""
    assert SERVICES[name].get("init", False) is (SERVICES[name].get("build") == ".")


@every_service
def test_what_a_service_waits_for_exists_and_can_come_true(name):
    waits = SERVICES[name].get("depends_on", {})
    assert set(waits) <= set(SERVICES)
    for other in waits:
        condition = waits[other]["condition"] if isinstance(waits, dict) else "service_started"
        assert condition != "service_healthy" or "healthcheck" in SERVICES[other]
        assert condition != "service_completed_successfully" or SERVICES[other]["restart"] == "no"


@every_service
def test_mounted_files_exist_and_named_volumes_are_declared(name):
    for mount in SERVICES[name].get("volumes", []):
        source, target, *mode = mount.split(":")
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mode == ["ro"], target
        else:
            assert source in COMPOSE["volumes"]


@every_service
def test_settings_are_ones_that_dealpulse_knows(name):
    known = {ENV_PREFIX + field.upper() for field in Environment.__struct_fields__}
    given = {one for one in SERVICES[name].get("environment", {}) if one.startswith(ENV_PREFIX)}
    assert given <= known


def test_settings_are_accepted_as_they_stand_there():
    given = SERVICES["worker"]["environment"]
    plain = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in given.items()}
    environment = read_environment(plain)
    assert environment.web_port == 6066
    assert bootstrap(environment) == "kafka:19092"


def test_the_configuration_of_the_workers_is_valid():
    mount = SERVICES["worker"]["volumes"][0].split(":")
    assert SERVICES["worker"]["environment"]["DEALPULSE_CONFIG"] == mount[1]
    assert read_definitions(ROOT / mount[0])


def test_containers_reach_the_broker_under_the_name_it_advertises():
    listeners = dict(one.split("://") for one in KAFKA["advertised.listeners"].split(","))
    assert listeners["INSIDE"] == SERVICES["worker"]["environment"]["DEALPULSE_BROKER"].removeprefix("kafka://")
    assert listeners["INSIDE"].split(":")[0] == SERVICES["kafka"]["hostname"]
    assert [f"{listeners['HOST']}:9092"] == SERVICES["kafka"]["ports"]


def test_single_broker_can_run_transactions():
    assert KAFKA["transaction.state.log.replication.factor"] == "1"
    assert KAFKA["transaction.state.log.min.isr"] == "1"
    assert KAFKA["offsets.topic.replication.factor"] == "1"
    assert KAFKA["transaction.abort.timed.out.transaction.cleanup.interval.ms"] == "1000"
    assert KAFKA["auto.create.topics.enable"] == "false"


def test_the_brokers_health_costs_little():
    """Each look starts a JVM, 1.2 s of CPU; at the start, when others wait, Docker looks more often by itself."""
    check = SERVICES["kafka"]["healthcheck"]
    interval, start = (int(check[name].removesuffix("s")) for name in ("interval", "start_period"))
    assert 1.2 / interval <= 0.05
    assert start >= interval


def test_cluster_id_is_16_bytes():
    identifier = SERVICES["kafka"]["environment"]["CLUSTER_ID"]
    assert len(base64.urlsafe_b64decode(identifier + "==")) == 16


def test_prometheus_scrapes_the_port_that_workers_listen_on():
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    (names,) = scrape["dns_sd_configs"]
    assert names["names"] == ["worker"]
    assert str(names["port"]) == SERVICES["worker"]["environment"]["DEALPULSE_WEB_PORT"]
    assert scrape["job_name"] == "dealpulse"


def test_grafana_finds_its_data_source_and_its_board():
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/dealpulse.yml").read_text())["providers"]
    mounts = dict(mount.split(":")[:2][::-1] for mount in SERVICES["grafana"]["volumes"])
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert source["url"] == "http://prometheus:9090"
    assert mounts["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    folder = ROOT / mounts[provider["options"]["path"]]
    board = folder / Path(home).relative_to(provider["options"]["path"])
    assert json.loads(board.read_text(encoding="utf-8"))["uid"] == "dealpulse"
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True


def test_image_runs_without_root_and_installs_by_hash():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER 10001"]
    assert any("--require-hashes -r requirements.lock" in line for line in lines)


def test_image_gets_every_file_that_it_copies():
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    wanted = {name for line in copied for name in line.split()}
    assert wanted == admitted
    assert all((ROOT / name).exists() for name in wanted)


def test_locks_pin_everything_by_hash_and_name_no_host():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "//" not in text
        assert "--index" not in text
        for entry in re.split(r"\n(?=\S)", text.strip()):
            assert re.match(r"[a-z0-9-]+==\S+", entry), entry
            assert "--hash=sha256:" in entry, entry
