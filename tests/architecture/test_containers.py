"""What the container files promise, read from the files themselves."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_zoo.cli import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = ("init", "bind", "datasets", "lab")
STAYING = ("service", "worker")

stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
parents = {name: parent for parent, name in stages}


def body(stage: str) -> str:
    """Return the lines of one stage of the Dockerfile."""
    after = DOCKERFILE.split(f" AS {stage}\n", 1)[1]
    return re.split(r"^FROM ", after, flags=re.MULTILINE)[0]


def lineage(stage: str) -> str:
    """Return the lines of a stage and of all that it is made from."""
    return body(stage) + (lineage(parents[stage]) if stage != "base" else "")


def mounted(service: str) -> dict[str, str]:
    """Return a service's mounts: what is mounted -> where, and how."""
    volumes = SERVICES[service].get("volumes", [])
    return dict(str(volume).rsplit(":/", 1) for volume in volumes)


def waited_for(service: str) -> set[str]:
    """Return every service that must have started before this one does."""
    direct = set(SERVICES[service].get("depends_on", {}))
    return direct.union(*map(waited_for, direct))


def test_every_stage_stands_on_the_one_base_image() -> None:
    assert {"base", "service", "trainer"} <= set(parents)
    assert parents["base"] == "${PYTHON_IMAGE}"
    assert set(parents.values()) <= {"${PYTHON_IMAGE}", *parents}
    default = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert default is not None
    assert not default[1].endswith(":latest")


def test_the_service_image_installs_nothing_of_the_trainer() -> None:
    extras = set(re.findall(r"'\.\[(\w+)\]'", lineage("service")))
    assert extras == {"service"}
    assert "'.[all]'" in lineage("trainer")


@pytest.mark.parametrize("stage", ["service", "trainer"])
def test_an_image_runs_as_nobody_in_particular(stage: str) -> None:
    assert re.findall(r"^USER (\S+)$", lineage(stage), re.MULTILINE) == ["10001:10001"]


def test_sources_are_copied_after_the_requirements_are_installed() -> None:
    for stage in ("service-requirements", "trainer-requirements"):
        copied = re.findall(r"^COPY (.*)$", lineage(stage), re.MULTILINE)
        assert copied == ["pyproject.toml ./"]


def test_nothing_enters_the_build_but_what_is_named() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [rule for rule in rules if rule and not rule.startswith("#")]
    assert patterns[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    named = {f"!{name}" for line in copied for name in line.split()}
    assert set(patterns[1:]) == named | {"**/__pycache__"}


def test_there_are_the_services_that_the_manual_names() -> None:
    assert set(SERVICES) == {*ONE_SHOT, *STAYING}
    assert SERVICES["lab"]["profiles"] == ["lab"]
    assert "COMPOSE_PROFILES=lab" in (ROOT / ".env").read_text().splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "user", "pid", "ipc", "devices"} & set(service)
    assert "docker.sock" not in str(service)


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_can_be_replaced(name: str) -> None:
    image = re.fullmatch(r"\$\{(\w+):-([^}]+)\}", SERVICES[name]["image"])
    assert image is not None
    assert not image[2].endswith(":latest")


@pytest.mark.parametrize("target", ["service", "trainer"])
def test_each_image_is_built_once_before_anybody_else_starts(target: str) -> None:
    builds = {name: s["build"] for name, s in SERVICES.items() if "build" in s}
    (builder,) = [name for name, build in builds.items() if build["target"] == target]
    assert builds[builder]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE:-")
    for name, service in SERVICES.items():
        if name != builder and service["image"] == SERVICES[builder]["image"]:
            assert service["pull_policy"] == "never"
            assert builder in waited_for(name)


def test_no_secret_stands_in_a_file_or_in_an_environment() -> None:
    allowed = {"ZOO_URL", "ZOO_CA", "ZOO_DATA_DIR"}
    for service in SERVICES.values():
        assert set(service.get("environment", {})) <= allowed
        assert "env_file" not in service
    assert not re.search(r"token|secret|password", "".join(body("base")), re.IGNORECASE)
    options = " ".join(str(service.get("command")) for service in SERVICES.values())
    assert set(re.findall(r"--(?:token|passphrase)(\S*?)[= ]", options)) == {"-file"}


def test_each_secret_is_seen_by_those_alone_who_need_it() -> None:
    holders = {
        volume: {name for name in SERVICES if volume in mounted(name)}
        for volume in ("tls", "builder", "data", "access")
    }
    assert holders["tls"] == {"init", "service"}
    assert holders["builder"] == {"init", "worker"}
    assert holders["data"] == {"service"}
    assert "datasets" not in holders["access"]
    for volume in ("access", "tls", "builder"):
        for name in holders[volume] - {"init"}:
            assert mounted(name)[volume].endswith(":ro"), (name, volume)


def test_every_volume_is_declared_and_none_is_a_path_of_a_machine() -> None:
    given = {volume for name in SERVICES for volume in mounted(name)}
    datasets = "${ZOO_DATA_DIR:-no-datasets}"
    assert given - {datasets} | {"no-datasets"} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", STAYING)
def test_what_stays_is_looked_after(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ONE_SHOT)
def test_what_ends_is_not_started_again(name: str) -> None:
    assert "restart" not in SERVICES[name]


def test_what_one_waits_for_comes_to_pass() -> None:
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            ends = "service_completed_successfully"
            expected = ends if name in ONE_SHOT else "service_healthy"
            assert wanted == {"condition": expected}
            assert "profiles" not in SERVICES[name]


def test_what_ends_waits_for_nothing_that_stays() -> None:
    """podman-compose could start nothing after it; the lab is waited for by nobody."""
    for name in set(ONE_SHOT) - {"lab"}:
        assert not waited_for(name) & set(STAYING), name


def test_who_trains_has_no_way_out_and_who_serves_is_on_loopback() -> None:
    assert COMPOSE["networks"]["zoo"] == {"internal": True}
    assert SERVICES["worker"]["networks"] == SERVICES["lab"]["networks"] == ["zoo"]
    assert SERVICES["init"]["network_mode"] == "none"
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert set(published) == {"service"}
    assert all(port.startswith("127.0.0.1:") for port in published["service"])


def test_the_override_gives_a_gpu_to_those_who_train_and_changes_nothing_else() -> None:
    assert set(GPU["services"]) == {"worker", "lab"}
    for override in GPU["services"].values():
        assert set(override) == {"deploy"}
        (device,) = devices(override)
        assert device["capabilities"] == ["gpu"]


def devices(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the devices that a service reserves."""
    reserved: list[dict[str, Any]] = service["deploy"]["resources"]["reservations"][
        "devices"
    ]
    return reserved


@pytest.mark.parametrize("module", ["containers.provision", "containers.ready"])
def test_what_runs_in_the_services_image_is_installed_there(module: str) -> None:
    (line,) = re.findall(r"pip install .*'\.\[service\]'(.*)", DOCKERFILE)
    named = set(re.findall(r"'([\w-]+)>=", line))
    absent = {name for name, extra in EXTRAS.items() if extra == "trainer"} - named
    program = (
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({sorted(absent)!r}))\n"
        f"importlib.import_module({module!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
