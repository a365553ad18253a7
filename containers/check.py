"""``make containers``: build, play the lab as services, look closely, take all down.

Everything happens in a project of its own, so that nothing of a zoo that runs on this
machine is touched. COMPOSE and CONTAINER_ENGINE name the commands to use.
"""

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from model_zoo.cli.output import say
from model_zoo.errors import ExpectationError, ZooError

ROOT = Path(__file__).resolve().parent.parent
COMPOSE_FILE = ROOT / "docker-compose.yml"
REPORT = ROOT / "lab-report"
PROJECT = "zoo-check"
COMMANDS = {"COMPOSE": "docker compose", "CONTAINER_ENGINE": "docker"}
BUILDERS = ("init", "datasets")
"""The services that build the two images; one after the other they share layers."""
LAB_SECONDS = 1800
ENGINE_SECONDS = 120
TAIL_LINES = 40
READ_ONLY = os.strerror(errno.EROFS)

NOOP = """
from pathlib import Path
from model_zoo.cli.options import Connection
from model_zoo.statements.jobs import NoopSpec
from os import environ as here
ca, token = Path(here["ZOO_CA"]), Path("/zoo/access/token")
connection = Connection(url=here["ZOO_URL"], ca=ca, token_file=token)
with connection.client() as zoo:
    print(zoo.wait(zoo.submit(NoopSpec(), trainer="resident").id).state)
"""
FACTS = """
import json, os
from importlib.util import find_spec
try:
    open("/app/scratch", "w")
except OSError as error:
    root = error.strerror
else:
    root = "writable"
print(json.dumps([find_spec("torch") is not None, os.getuid(), root]))
"""
"""Asked inside a container: is torch there, who runs, may the root be written."""


def main() -> None:
    """Play it; whatever happens, leave no container, network or volume behind."""
    for variable in COMMANDS:
        if shutil.which(command(variable)[0]) is None:
            sys.exit(f"no {command(variable)[0]} here: set {variable} to what there is")
    try:
        for image in BUILDERS:
            compose("build", image)
        compose("up", "--detach")
        seen = [check_lab(), check_health(), *check_confinement(), check_worker()]
    except (ZooError, subprocess.SubprocessError) as error:
        for line in last_words().splitlines():
            say(line)
        sys.exit(f"make containers: {error}")
    finally:
        compose("down", "--volumes")
    for line in seen:
        say(line)


def check_lab() -> str:
    """Wait for the lab to end well, bring its report here, and tell.

    Raises:
        ExpectationError: it exits with another status than 0.
        SubprocessError: it does not end in time, or leaves no report.
    """
    lab = container("lab")
    status = engine("wait", lab, timeout=LAB_SECONDS).strip()
    require(status == "0", f"the lab ended with {status}")
    REPORT.mkdir(exist_ok=True)
    for name in ("report.html", "report.json"):
        engine("cp", f"{lab}:/zoo/report/{name}", str(REPORT / name))
    facts = json.loads((REPORT / "report.json").read_bytes())
    require(facts["passed"], f"the lab's promises: {facts['broken_promises']}")
    cells = len(facts["scoreboard"])
    return f"lab: exit 0, {cells} cells as expected; {REPORT / 'report.html'}"


def check_health() -> str:
    """Run every health check of the compose file inside its container, and tell.

    Asked here and not of the engine: some run them only on a host with systemd.

    Raises:
        SubprocessError: one is not well.
    """
    services = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    checks = {
        name: service["healthcheck"]["test"]
        for name, service in services.items()
        if "healthcheck" in service
    }
    for name, (_, *test) in checks.items():
        inside(name, *test)
    return f"healthy: {', '.join(checks)}"


def check_confinement() -> list[str]:
    """Look from inside: no torch where it serves, no root, no writable root; tell.

    Raises:
        ExpectationError: a container is not as it should be.
    """
    seen = []
    for name, trains in {"service": False, "worker": True}.items():
        torch, uid, root = json.loads(inside(name, "python", "-c", FACTS))
        seen.append(f"{name}: torch {torch}, user {uid}, root file system: {root}")
        require(torch is trains, f"{name}: torch installed is {torch}")
        require(uid != 0, f"{name} runs as root")
        require(root == READ_ONLY, f"{name}: its root file system: {root}")
    return seen


def check_worker() -> str:
    """Have the resident worker do a job, and tell.

    Raises:
        ExpectationError: the job did not succeed.
    """
    state = inside("worker", "python", "-c", NOOP).strip()
    require(state == "succeeded", f"the worker's job {state}")
    return "worker: a job submitted, leased, done and signed"


def require(kept: object, broken: str) -> None:
    """Raise ExpectationError with the message ``broken`` unless ``kept``."""
    if not kept:
        raise ExpectationError(broken)


def compose(*arguments: str) -> None:
    """Run a compose command on our project, its words passed on."""
    subprocess.run(  # noqa: S603  the developer's own command
        [*command("COMPOSE"), "--project-name", PROJECT, *arguments],
        cwd=ROOT,
        env=os.environ | {"COMPOSE_PROFILES": "lab", "ZOO_PORT": ""},
        check=True,
    )


def inside(service: str, *arguments: str) -> str:
    """Return what a command says inside the container of a service."""
    return engine("exec", container(service), *arguments)


def container(service: str) -> str:
    """Return the id of a service's container, running or not.

    Raises:
        ExpectationError: there is none.
    """
    found = containers(f"com.docker.compose.service={service}")
    require(len(found) == 1, f"{len(found)} containers of {service}")
    return found[0]


def containers(*labels: str) -> list[str]:
    """Return the ids of our project's containers that have further labels."""
    wanted = (f"com.docker.compose.project={PROJECT}", *labels)
    filters = [f"--filter=label={label}" for label in wanted]
    return engine("ps", "--all", "--quiet", *filters).split()


def last_words() -> str:
    """Return the last lines that each container wrote."""
    return "\n".join(
        engine("logs", f"--tail={TAIL_LINES}", found, stderr=subprocess.STDOUT)
        for found in containers()
    )


def engine(
    *arguments: str, timeout: int = ENGINE_SECONDS, stderr: int | None = None
) -> str:
    """Return what the container engine says to a command.

    Raises:
        SubprocessError: it fails, or takes longer than ``timeout`` seconds.
    """
    done = subprocess.run(  # noqa: S603  the developer's own command
        [*command("CONTAINER_ENGINE"), *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=timeout,
        check=True,
    )
    return done.stdout


def command(variable: str) -> list[str]:
    """Return the words of the command that an environment variable names."""
    return shlex.split(os.environ.get(variable, COMMANDS[variable]))


if __name__ == "__main__":
    main()
