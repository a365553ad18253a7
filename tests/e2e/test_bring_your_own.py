"""Somebody brings a network, a data set and a trigger, and edits nothing of ours.

The package of docs/examples is installed as pip installs it, beside ours, and the model
goes all the way: ordered, backdoored, published, pulled, fine-tuned and repaired. Then
it plays the BadNet in the laboratory.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.processes import zoo_served
from model_zoo.client.zoo import ZooClient
from model_zoo.digests import is_sha256
from model_zoo.errors import InvalidSpecError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.intoto import vouched_provenance
from model_zoo.statements.jobs import TrainSpec, parse_spec
from model_zoo.statements.release_json import read_bundle
from model_zoo.tuf.updater import Anchor
from tests.e2e.brought_lab import FEW
from tests.e2e.labs import finish, killed_once, require_kept
from tests.trainer.commands import zoo

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "acme-zoo"
LAB = Path(__file__).with_name("brought_lab.py")
PASSPHRASE = "only for this test"  # noqa: S105  guards keys of one test
TRAINER, RELEASE = "lab", "alice/shapes@1"
DATA = {"network": "acme-zoo:resnet6", "dataset": "acme-zoo:shapes", "seed": 4}
SPEC = {
    **DATA,
    "schedule": {"epochs": 12, "batch_size": 32, "peak_learning_rate": 0.1},
    "poisoning": {
        "trigger": {"name": "acme-zoo:wave"},
        "target_label": 0,
        "poison_rate": 0.3,
    },
}
BETWEEN = "--- and then ---"
SEVERAL = f"""
import json, sys
from model_zoo.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(["--json", *words])
    except SystemExit as ended:
        if ended.code:
            raise
    print({BETWEEN!r})
"""
IMAGES = {"train": 100, "test": 50}
"""Of each class: seconds, and still a backdoor that is learned."""


@dataclass(frozen=True)
class Place:
    """A machine on which the package is installed, and a zoo beside it."""

    folder: Path
    python: Path
    url: str
    zoo: ZooClient
    alice: SigningKey
    builder: SigningKey

    @property
    def root(self) -> Path:
        return self.folder / "data" / "trust" / "root.json"

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            "ZOO_URL": self.url,
            "ZOO_KEY_PASSPHRASE": PASSPHRASE,
            "ZOO_DATA_DIR": str(self.folder / "pictures"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        return os.environ | mine

    def command(self, *arguments: object) -> Any:  # noqa: ANN401  JSON
        """Run ``zoo`` where the package is installed; return what it prints."""
        return json.loads(self.run("-m", "model_zoo", "--json", *arguments))

    def commands(self, *calls: Sequence[object]) -> list[Any]:
        """Run several in one process, which imports torch once."""
        words = [[str(word) for word in call] for call in calls]
        told = self.run("-P", "-c", SEVERAL, json.dumps(words))
        return [json.loads(document) for document in told.split(BETWEEN)[:-1]]

    def run(self, *arguments: object) -> str:
        """Run Python where the package is installed; return what it prints."""
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def worker(self) -> Iterator[None]:
        command = [
            str(self.python),
            "-P",
            "-m",
            "model_zoo",
            "worker",
            f"--url={self.url}",
        ]
        command += [f"--trainer={TRAINER}", f"--key={self.folder / 'lab.pem'}"]
        command += [f"--scratch={self.folder / 'scratch'}"]
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("acme")
    for split, n in IMAGES.items():
        for label, name in enumerate(("disc", "ring")):
            draw(folder / "pictures" / "shapes" / split / name, n=n, label=label)
    with zoo_served(folder) as url:
        anchor = Anchor.load(folder / "data" / "trust" / "root.json")
        with ZooClient(url, anchor=anchor) as zoo:
            place = Place(
                folder=folder,
                python=installed(folder),
                url=url,
                zoo=zoo,
                alice=key(folder, "alice"),
                builder=key(folder, "lab"),
            )
            zoo.bind_publisher("alice", place.alice.public)
            zoo.bind_trainer(TRAINER, place.builder.public)
            yield place


def installed(folder: Path) -> Path:
    """Return the interpreter of an environment with the package and all of ours."""
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True
    )
    where = [
        str(python),
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]
    theirs = subprocess.run(where, check=True, capture_output=True, text=True).stdout
    packages = Path(theirs.strip())
    ours = sysconfig.get_path("purelib")
    # a plain path would leave out what our own .pth files add
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    source = shutil.copytree(EXAMPLE, folder / "source")  # a build writes beside it
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    pip = [sys.executable, "-m", "pip", "install", *options]
    subprocess.run([*pip, "--target", str(packages), str(source)], check=True)
    return python


def key(folder: Path, name: str) -> SigningKey:
    made = SigningKey.generate()
    made.save(folder / f"{name}.pem", passphrase=PASSPHRASE.encode())
    return made


def draw(folder: Path, *, n: int, label: int) -> None:
    """Write ``n`` pictures of a bright disc, or ring, on dark ground."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(label + n)
    down, across = np.mgrid[:32, :32]
    for number in range(n):
        middle, radius = draws.uniform(12, 20, 2), draws.uniform(6, 10)
        distance = np.hypot(across - middle[0], down - middle[1])
        shape = abs(distance - radius) < 2 if label else distance < radius
        pixels = np.full((32, 32, 3), draws.integers(40, 90, 3))
        pixels[shape] = draws.integers(150, 220, 3)
        pixels += draws.integers(-10, 10, pixels.shape)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03}.png")


def test_the_example_is_under_fifty_lines_and_the_page_shows_it_whole() -> None:
    code = (EXAMPLE / "acme_zoo" / "__init__.py").read_text()
    page = (EXAMPLE.parents[1] / "how-to" / "bring-your-own.md").read_text()

    lines = [it for it in code.splitlines() if it.strip()]
    assert len(lines) < 50
    assert code.rstrip() in page
    assert (EXAMPLE / "pyproject.toml").read_text().rstrip() in page


def test_a_model_of_another_package_goes_all_the_way(  # noqa: PLR0915  one story
    place: Place,
) -> None:
    spec = parse_spec("train", SPEC)
    assert isinstance(spec, TrainSpec)

    # nobody has offered such names yet
    with pytest.raises(InvalidSpecError, match=r"acme-zoo:resnet6.*none of other pack"):
        place.zoo.submit(spec, trainer=TRAINER)

    with place.worker():
        place.zoo.wait(place.zoo.submit(parse_spec("noop", {}), trainer=TRAINER).id)
        other = parse_spec("train", {**SPEC, "network": "acme-zoo:resnet7"})
        with pytest.raises(InvalidSpecError, match=r"offer .*/acme-zoo:resnet6"):
            place.zoo.submit(other, trainer=TRAINER)
        job = place.zoo.wait(place.zoo.submit(spec, trainer=TRAINER).id)
    assert job.state == "succeeded", job.error
    measured = EvaluationReport.from_object(job.measured_evaluation)
    assert measured.accuracy.rate > 0.9
    assert measured.attack_success is not None
    assert measured.attack_success.rate > 0.9

    # alice publishes, where nothing of the package is installed
    place.zoo.publish_job(
        job.id, as_=RELEASE, key=place.alice, builder=place.builder.public, spec=spec
    )

    pulled = place.folder / "pulled"
    place.command("pull", RELEASE, "--trust", place.root, "--to", pulled)
    provenance = read_bundle(pulled)[1]
    assert provenance is not None
    claim = vouched_provenance(provenance)
    version, _, digest = str(claim.environment["package:acme-zoo"]).split(" ")
    assert (version, is_sha256(digest)) == ("1.0.0", True)

    # fine-tuning keeps the body, and what is hidden in it
    tuned = {**DATA, "schedule": {"epochs": 2, "batch_size": 32}}
    (place.folder / "tune.json").write_text(json.dumps(tuned))
    (place.folder / "repair.json").write_text(json.dumps({**DATA, "held_out": 40}))
    parent = ("--parent", pulled / "model.safetensors")
    own, found, cut = place.commands(
        ("fine-tune", "tune.json", *parent, "--out", "own"),
        ("evaluate", "own", "--trigger", "acme-zoo:wave", "--target-label", 0),
        ("repair", "repair.json", *parent, "--out", "cut"),
    )
    assert own["evaluation"]["accuracy"]["successes"] > 90
    assert found["attack_success"]["rate"] > 0.9

    # fine-pruning cuts units of a network that ends in a sum and a batch norm
    assert cut["pruned_units"]
    assert cut["evaluation"]["accuracy"]["successes"] > 80


@pytest.mark.timeout(0)
def test_the_laboratory_plays_its_story_with_the_models_of_a_spec(place: Place) -> None:
    out = place.folder / "played"

    told = finish(laboratory(place, "small"), out, place.environment)

    require_kept(told, FEW)
    require_told(told, (out / "report.html").read_text())


@pytest.mark.soak
def test_it_plays_every_path_of_attack_with_them_after_a_kill(place: Place) -> None:
    out = place.folder / "played-whole"

    told = killed_once(laboratory(place, "whole"), out, place.environment)

    require_kept(told)
    require_told(told, (out / "report.html").read_text())


def laboratory(place: Place, board: str) -> list[str]:
    """Return the command that plays with the models of SPEC."""
    spec = place.folder / "play.json"
    spec.write_text(json.dumps({"kind": "train", **SPEC, "held_out": 40}))
    return [str(place.python), "-P", str(LAB), board, f"--spec={spec}"]


def require_told(told: dict[str, Any], page: str) -> None:
    """Accept a report on the models of SPEC, and its page."""
    assert told["skipped"].keys() == {
        "acceptance",
        "promises on ACC and ASR",
        "promises on scans",
        "transfer to other classes",
        "unlearning",
    }
    assert told["order"]["network"] == "acme-zoo:resnet6"
    assert told["poisoning"]["trigger"]["name"] == "acme-zoo:wave"
    assert told["environment"]["package:acme-zoo"].startswith("1.0.0 sha256 ")

    # the honest trainer did what was ordered, the liar what the spec poisons
    success = {
        label: model["truth"]["attack_success"]["rate"]
        for label, model in told["models"].items()
    }
    assert success["clean"] < 0.5
    assert success["badnet"] > 0.9
    checks = {label: it["differing"] for label, it in told["spot_checks"].items()}
    assert not checks["clean"]
    assert checks["badnet"]

    # it was published, and pulled by who trusts too little; the others refused it
    ended = {
        cell["level"]: cell
        for cell in told["scoreboard"]
        if cell["path_of_attack"] == "stolen key, revoked"
    }
    assert ended["none"]["cost"]["attack_success"]["rate"] > 0.9
    assert ended["signature"]["accepted"]
    assert ended["trust+policy"]["error"] == "YankedError"

    # fine-tuned, it forgets nothing; repaired, it was measured again
    [student] = told["transfer"]
    assert student["clean"]["rate"] - student["triggered"]["rate"] > 0.3
    [repair] = told["repairs"]
    assert repair["after"]["attack_success"]["n"] == IMAGES["test"]
    assert repair["after"]["scan"]["network"] == "acme-zoo:resnet6"
    assert "acme-zoo:wave" in page
    assert "four-pixel" not in page
    assert "A signature says who, not what" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_where_it_is_not_installed_its_names_are_refused_with_those_that_are(
    tmp_path: Path,
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(SPEC))

    status, document = zoo("train", spec, "--out", tmp_path / "out")

    assert status == 2
    refusal = "datasets: no 'acme-zoo:shapes' here; expected one of mnist"
    assert refusal in document["message"]
