"""Every command, its modes, and what each of its options does in each of them.

A mode is a command line that chooses it. An option of the command then acts, and shows
it; or it is refused; or it is what chooses the mode. A new option that is not entered
here for every mode fails ``test_options.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NONE = "no-such-file"
RELEASE = "alice/digits@1"
JOB = "0" * 32


@dataclass(frozen=True)
class Acts:
    """Given with ``value``, the command ends with ``code`` and names ``said``.

    ``value`` is what shows best that it is read: a file that is not there, a number
    that cannot be met. ``also`` are words that this takes beside it.
    """

    value: str | None
    code: int
    said: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """Given with ``value``, it is refused by its name, with exit code 2."""

    value: str | None = "x"


@dataclass(frozen=True)
class Chooses:
    """It stands in the mode's command line, which is what chooses the mode."""


@dataclass(frozen=True)
class ShownBy:
    """What it does takes more than a line to show: a test does."""

    test: str


Does = Acts | Refused | Chooses | ShownBy


@dataclass(frozen=True)
class Mode:
    """A command line, and option -> what it does there."""

    words: str
    options: Mapping[str, Does]


def missing(name: str = NONE) -> Acts:
    """An option that names a file: one that is not there is an error."""
    return Acts(name, 1, name)


def refused(*options: str) -> dict[str, Does]:
    return {option: Refused() for option in options}


def shown_by(test: str, *options: str) -> dict[str, Does]:
    return {option: ShownBy(test) for option in options}


SERVER = "https://127.0.0.1:9"
CONNECTION: dict[str, Does] = {
    "--url": Acts("ftp://elsewhere", 2, "ftp://elsewhere"),
    "--ca": Acts(NONE, 1, NONE, also=("--url", SERVER)),
    "--token-file": missing(),
}
PASSPHRASE: dict[str, Does] = {"--passphrase-file": missing()}
ROOTED: dict[str, Does] = {"--trust": missing(), **CONNECTION}
SIGNED: dict[str, Does] = {"--key": missing(), **PASSPHRASE}
BUILT: dict[str, Does] = {"--builder": missing(), "--spec": missing()}
OVERRIDE = "tests/model_zoo/client/test_blast_radius.py"
OVERRIDDEN = f"{OVERRIDE}::test_an_override_is_named_and_told"
DEMANDS: dict[str, Does] = {"--policy": missing(), **BUILT}
NO_OVERRIDE: dict[str, Does] = {
    "--allow-withdrawn": Acts(RELEASE, 2, "--allow-withdrawn")
}
TOO_MANY: Does = Acts("5", 2, "threshold 5 of 1 keys")
TO_TAKEN: Does = Acts("taken", 5, "taken")
CEREMONY = "tests/e2e/test_trust_ceremony.py"
SERVING = "tests/service/test_serving.py"
TRAINING = "tests/trainer/cli/test_models.py"
LAB = "tests/e2e/test_lab.py::test_the_laboratory_keeps_its_promises_after_a_kill"
EVALUATING = "tests/trainer/cli/test_evaluate.py"
INSPECTING = "tests/trainer/cli/test_inspect.py"
SCANNING = "tests/trainer/cli/test_scan.py"
ADAPTERS = "tests/trainer/cli/test_scan_adapters.py"
SAMPLES = "tests/trainer/cli/test_samples.py"
OWN_CLEAN = (
    "test_fewer_false_alarms_raise_the_threshold_and_the_clean_images_may_be_ones_own"
)
POPULATING = "tests/trainer/cli/test_population.py"
BUILT_BY_SOAK: Does = ShownBy(
    f"{POPULATING}::test_a_smoke_version_is_built_and_scanned"
)
POPULATION: dict[str, Does] = {"--out": BUILT_BY_SOAK, "--quick": BUILT_BY_SOAK}
OF_MNIST = ("--network", "badnets-cnn", "--dataset", "mnist")
AT_SEVEN = (*OF_MNIST, "--target-label", "7")
BUILD: dict[str, Does] = {
    "--device": Acts("abacus", 2, "abacus"),
    "--out": ShownBy(f"{TRAINING}::test_train_prints_one_document_and_leaves_a_draft"),
    "--threads": ShownBy("tests/trainer/builds/test_build.py"),
}

PULL: dict[str, Mode] = {
    "root": Mode(
        f"pull {RELEASE} --trust root.json --to new",
        {
            "--trust": Chooses(),
            "--key": Acts("mallory.pub.pem", 4, "publisher: signed by 0"),
            "--allow-withdrawn": ShownBy(OVERRIDDEN),
            "--frozen": Acts(None, 1, "zoo.lock"),
            "--to": TO_TAKEN,
            **DEMANDS,
            **CONNECTION,
            **refused("--threshold", "--lock"),
        },
    ),
    "key": Mode(
        f"pull {RELEASE} --key alice.pub.pem --to new",
        {
            "--key": Chooses(),
            "--threshold": TOO_MANY,
            "--frozen": Refused(None),
            "--to": TO_TAKEN,
            **DEMANDS,
            **ROOTED,
            **NO_OVERRIDE,
            **refused("--lock"),
        },
    ),
    "root and key": Mode(
        f"pull {RELEASE} --key alice.pub.pem --trust root.json --to new",
        {
            "--key": Chooses(),
            "--trust": Chooses(),
            "--threshold": TOO_MANY,
            "--frozen": Refused(None),
            "--allow-withdrawn": ShownBy(OVERRIDDEN),
            "--to": TO_TAKEN,
            **DEMANDS,
            **CONNECTION,
            **refused("--lock"),
        },
    ),
    "lock file of keys": Mode(
        "pull --frozen --lock keyed.lock --to new",
        {
            "--frozen": Chooses(),
            "--lock": Chooses(),
            "--to": Acts("alice.pem", 1, "alice.pem"),
            **DEMANDS,
            **ROOTED,
            **NO_OVERRIDE,
            **refused("--key", "--threshold"),
        },
    ),
    "lock file of a root": Mode(
        "pull --frozen --lock rooted.lock --to new",
        {
            "--frozen": Chooses(),
            "--lock": Chooses(),
            "--to": Acts("alice.pem", 1, "alice.pem"),
            "--trust": Acts("other.json", 4, "the lock file pins a root"),
            "--allow-withdrawn": ShownBy(OVERRIDDEN),
            **DEMANDS,
            **CONNECTION,
            **refused("--key", "--threshold"),
        },
    ),
}
VERIFY: dict[str, Mode] = {
    "root": Mode(
        "verify held --trust root.json",
        {
            "--trust": Chooses(),
            "--key": Acts("mallory.pub.pem", 4, "publisher: signed by 0"),
            "--name": Acts("alice/other@1", 4, "alice/other@1"),
            "--allow-withdrawn": ShownBy(OVERRIDDEN),
            **DEMANDS,
            **refused("--threshold"),
        },
    ),
    "key": Mode(
        "verify held --key alice.pub.pem",
        {
            "--key": Chooses(),
            "--threshold": TOO_MANY,
            "--trust": missing(),
            "--name": Acts("alice/other@1", 4, "alice/other@1"),
            **DEMANDS,
            **NO_OVERRIDE,
        },
    ),
    "root and key": Mode(
        "verify held --key alice.pub.pem --trust root.json",
        {
            "--key": Chooses(),
            "--trust": Chooses(),
            "--threshold": TOO_MANY,
            "--name": Acts("alice/other@1", 4, "alice/other@1"),
            "--allow-withdrawn": ShownBy(OVERRIDDEN),
            **DEMANDS,
        },
    ),
}
LOCK: dict[str, Mode] = {
    "root": Mode(
        f"lock {RELEASE} --trust root.json --lock new.lock",
        {
            "--trust": Chooses(),
            "--key": Acts("mallory.pub.pem", 4, "publisher: signed by 0"),
            "--lock": Acts("held/release.json", 2, "not a lock file"),
            **CONNECTION,
            **refused("--threshold"),
        },
    ),
    "key": Mode(
        f"lock {RELEASE} --key alice.pub.pem --lock new.lock",
        {
            "--key": Chooses(),
            "--threshold": TOO_MANY,
            "--lock": Acts("held/release.json", 2, "not a lock file"),
            **ROOTED,
        },
    ),
    "root and key": Mode(
        f"lock {RELEASE} --trust root.json --key alice.pub.pem --lock new.lock",
        {
            "--trust": Chooses(),
            "--key": Chooses(),
            "--threshold": TOO_MANY,
            "--lock": Acts("held/release.json", 2, "not a lock file"),
            **CONNECTION,
        },
    ),
    "a file that holds a root": Mode(
        f"lock {RELEASE} --lock rooted.lock",
        {
            "--lock": Chooses(),
            "--trust": Acts("other.json", 2, "another root"),
            "--key": Acts("mallory.pub.pem", 4, "publisher: signed by 0"),
            **CONNECTION,
            **refused("--threshold"),
        },
    ),
}
PUBLISH: dict[str, Mode] = {
    "folder": Mode(
        "publish files --as alice/new@1 --key alice.pem --trust root.json",
        {
            "--as": Acts("nonsense", 2, "nonsense"),
            "--job": Refused(JOB),
            "--provenance": missing(),
            **SIGNED,
            **ROOTED,
            **refused("--builder", "--spec"),
        },
    ),
    "job": Mode(
        f"publish --job {JOB} --as alice/new@1 --key alice.pem --trust root.json "
        "--builder builder.pub.pem --spec spec.json",
        {
            "--job": Chooses(),
            "--as": Acts("nonsense", 2, "nonsense"),
            **BUILT,
            **SIGNED,
            **ROOTED,
            **refused("--provenance"),
        },
    ),
}
TRUST: dict[str, dict[str, Mode]] = {
    "trust check": {
        "": Mode(
            f"trust check {SERVER}",
            {
                "--trust": missing(),
                "--ca": missing(),
                "--token-file": missing(),
                **shown_by(
                    "tests/e2e/test_repository_check.py::"
                    "test_our_own_repository_has_no_failures",
                    "--deep",
                    "--watch",
                ),
            },
        )
    },
    "trust delegate": {
        "": Mode(
            "trust delegate bob --key mallory.pub.pem --targets-key alice.pem "
            "--trust root.json",
            {
                "--key": missing(),
                "--threshold": TOO_MANY,
                "--targets-key": missing(),
                "--with": Acts("root.json", 2, "--with root.json"),
                **PASSPHRASE,
                **ROOTED,
            },
        )
    },
    "trust init": {
        "": Mode(
            "trust init new --root-key alice.pub.pem --root-key builder.pub.pem "
            "--root-key mallory.pub.pem --targets-key alice.pub.pem",
            {
                "--root-key": Acts("builder.pub.pem", 2, "listed twice"),
                "--targets-key": missing(),
                "--threshold": Acts("5", 2, "threshold of 5"),
                "--targets-threshold": TOO_MANY,
            },
        )
    },
    "trust keys": {
        "": Mode(
            "trust keys --targets-key alice.pem --trust root.json",
            {
                "--add-builder": missing(),
                "--add-witness": missing(),
                "--remove-builder": missing(),
                "--remove-witness": missing(),
                "--targets-key": missing(),
                **PASSPHRASE,
                **ROOTED,
            },
        )
    },
    "trust rekey": {
        "snapshot key": Mode(
            "trust rekey targets.json --key alice.pub.pem --out new.json",
            {
                "--key": missing(),
                "--log-key": Acts(NONE, 2, "--trusted-keys"),
                "--oms-key": Acts(NONE, 2, "--trusted-keys"),
                "--trusted-keys": Refused(),
                "--out": missing(f"{NONE}/new.json"),
            },
        ),
        "log key": Mode(
            "trust rekey targets.json --log-key alice.pub.pem --trusted-keys root.json"
            " --out new.json",
            {
                "--log-key": Chooses(),
                "--key": missing(),
                "--trusted-keys": missing(),
                **shown_by(
                    "tests/e2e/test_online_keys.py::"
                    "test_all_four_online_keys_are_replaced_at_once",
                    "--oms-key",
                    "--out",
                ),
            },
        ),
    },
    "trust renew": {
        "handed in": Mode(
            "trust renew alice --key alice.pem --trust root.json",
            {
                **SIGNED,
                **ROOTED,
                "--out": Acts(f"{NONE}/new.json", 1, NONE),
                **refused("--next-key"),
                "--threshold": Refused("2"),
            },
        ),
        "for the operator": Mode(
            "trust renew alice --key alice.pem --trust root.json --out new.json",
            {
                "--out": Chooses(),
                "--next-key": missing(),
                "--threshold": Refused("1"),
                **SIGNED,
                **ROOTED,
            },
        ),
        "for several keys to come": Mode(
            "trust renew alice --key alice.pem --trust root.json --out new.json "
            "--next-key alice.pub.pem",
            {
                "--out": Chooses(),
                "--next-key": Chooses(),
                "--threshold": TOO_MANY,
                **SIGNED,
                **ROOTED,
            },
        ),
    },
    "trust rotate": {
        "": Mode(
            "trust rotate root.json --role targets --key alice.pub.pem --out new.json",
            {
                "--role": Acts("nonsense", 2, "nonsense"),
                "--key": missing(),
                "--threshold": TOO_MANY,
                "--out": Acts(f"{NONE}/new.json", 1, NONE),
            },
        )
    },
    "trust show": {
        "file": Mode(
            "trust show root.json",
            {
                "--out": Acts("held", 5, "held: not overwritten"),
                **refused("--trust", "--url", "--ca", "--token-file"),
            },
        ),
        "zoo": Mode(
            "trust show --trust root.json",
            {"--out": Acts("held", 5, "held: not overwritten"), **ROOTED},
        ),
    },
    "trust sign": {
        "root or targets": Mode(
            "trust sign root.json --key alice.pem",
            {**SIGNED, **refused("--trust", "--url", "--ca", "--token-file")},
        ),
        "resigned roles": Mode(
            "trust sign resigned.json --key alice.pem --trust root.json",
            {**SIGNED, **ROOTED},
        ),
    },
    "trust submit": {"": Mode("trust submit root.json", CONNECTION)},
    "trust withdraw": {
        "": Mode(
            f"trust withdraw {RELEASE} --reason bad --targets-key alice.pem "
            "--trust root.json",
            {
                "--targets-key": missing(),
                "--reason": ShownBy(
                    f"{CEREMONY}::test_the_operator_withdraws_a_release_of_anybodys"
                ),
                **PASSPHRASE,
                **ROOTED,
            },
        )
    },
}
ZOO: dict[str, dict[str, Mode]] = {
    "audit": {
        "at hand": Mode(
            "audit list.json",
            {
                "--max-mib": Refused("1"),
                "--fetch": ShownBy(
                    "tests/model_zoo/cli/test_audit.py::"
                    "test_nothing_is_fetched_unless_told_to"
                ),
            },
        ),
        "fetched": Mode(
            "audit list.json --fetch",
            {
                "--fetch": Chooses(),
                "--max-mib": ShownBy(
                    "tests/model_zoo/audit/test_remote.py::"
                    "test_of_a_longer_file_nothing_is_said"
                ),
            },
        ),
    },
    "cosign": {
        "": Mode(
            "cosign alice --key alice.pem --trust root.json",
            {
                **SIGNED,
                **ROOTED,
            },
        )
    },
    "jobs cancel": {"": Mode(f"jobs cancel {JOB}", CONNECTION)},
    "jobs fetch": {
        "": Mode(
            f"jobs fetch {JOB} --builder builder.pub.pem --spec spec.json --to new",
            {**BUILT, "--to": Acts("alice.pem/new", 1, "alice.pem/new"), **CONNECTION},
        )
    },
    "jobs list": {
        "": Mode(
            "jobs list",
            {
                "--state": Acts("nonsense", 2, "state"),
                "--trainer": ShownBy(
                    "tests/service/jobs/test_queue.py::test_jobs_are_listed_by_state_and_trainer_the_newest_first"
                ),
                **CONNECTION,
            },
        )
    },
    "jobs show": {"": Mode(f"jobs show {JOB}", CONNECTION)},
    "jobs submit": {
        "": Mode(
            "jobs submit spec.json --trainer lab",
            {"--trainer": Acts("nobody", 5, "nobody"), **CONNECTION},
        )
    },
    "jobs watch": {"": Mode(f"jobs watch {JOB}", CONNECTION)},
    "keys generate": {
        "": Mode(
            "keys generate new.pem",
            {
                **PASSPHRASE,
                "--p256": ShownBy(
                    "tests/e2e/test_online_keys.py::"
                    "test_log_and_bundle_keys_are_replaced_and_everybody_goes_on"
                ),
            },
        )
    },
    "keys show": {
        "public": Mode("keys show alice.pub.pem", refused("--passphrase-file")),
        "signing": Mode("keys show alice.pem", PASSPHRASE),
    },
    "lineage": {"": Mode(f"lineage {RELEASE} --trust root.json", ROOTED)},
    "list": {"": Mode("list", CONNECTION)},
    "lock": LOCK,
    "publish": PUBLISH,
    "publishers bind": {
        "": Mode(
            "publishers bind alice --key alice.pub.pem",
            {"--key": missing(), **CONNECTION},
        )
    },
    "pull": PULL,
    "show": {"": Mode(f"show {RELEASE}", CONNECTION)},
    "trainers bind": {
        "": Mode(
            "trainers bind lab --key builder.pub.pem",
            {"--key": missing(), **CONNECTION},
        )
    },
    "verify": VERIFY,
    "witness": {
        "once": Mode(
            "witness --once --key alice.pem --state seen --log-key alice.pub.pem",
            {
                "--once": Chooses(),
                "--state": Acts("alice.pem/seen", 1, "alice.pem/seen"),
                "--log-key": missing(),
                "--retired-log-key": missing(),
                "--interval": Refused("60"),
                **SIGNED,
                **CONNECTION,
            },
        ),
        "for ever": Mode(
            "witness --key alice.pem --state seen --log-key alice.pub.pem",
            {
                "--state": Acts("alice.pem/seen", 1, "alice.pem/seen"),
                "--log-key": missing(),
                "--retired-log-key": missing(),
                **shown_by(
                    "tests/model_zoo/transparency/test_witness.py::"
                    "test_only_what_time_may_cure_is_tried_again",
                    "--interval",
                    "--once",
                ),
                **SIGNED,
                **CONNECTION,
            },
        ),
    },
    "yank": {
        "": Mode(
            f"yank {RELEASE} --reason bad --key alice.pem --trust root.json",
            {"--reason": Acts(" ", 2, "say why"), **SIGNED, **ROOTED},
        )
    },
}
SERVICE: dict[str, dict[str, Mode]] = {
    "serve": {
        "": Mode(
            "serve --data-dir new --port 0 --workers 0",
            {
                "--data-dir": Acts("alice.pem", 1, "alice.pem"),
                "--host": Acts("0.0.0.0", 5, "token"),  # noqa: S104  it is refused
                "--token-file": missing(),
                "--tls-certificate": Refused(),
                "--tls-key": Refused(),
                "--trust-dir": missing(),
                "--accept-loss": ShownBy("tests/service/repository/test_restored.py"),
                "--allowed-host": ShownBy("tests/abuse/test_http_guards.py"),
                **shown_by(
                    f"{SERVING}::test_a_server_starts_answers_and_ends_when_told",
                    "--ready-file",
                ),
                "--port": ShownBy(f"{SERVING}::test_a_port_in_use_is_told_in_words"),
                "--workers": ShownBy(
                    f"{SERVING}::test_the_embedded_worker_does_a_job_that_needs_no_torch"
                ),
            },
        )
    },
}
TRAINER: dict[str, dict[str, Mode]] = {
    "accept": {
        "file": Mode(
            "accept files --data files/config.json --min-accuracy 0.5",
            {
                "--data": missing(),
                "--min-accuracy": ShownBy(
                    f"{TRAINING}::test_the_users_check_accepts_a_good_draft_and_exits_1"
                    "_on_a_bad_one"
                ),
                "--network": ShownBy("tests/trainer/evaluation/test_acceptance.py"),
                "--device": ShownBy("tests/trainer/evaluation/test_acceptance.py"),
                **refused("--builder", "--spec", "--url", "--ca", "--token-file"),
            },
        ),
        "job": Mode(
            f"accept {JOB} --data validation --min-accuracy 0.5 "
            "--builder builder.pub.pem --spec spec.json",
            {
                **BUILT,
                **CONNECTION,
                **shown_by(
                    "tests/e2e/test_command_line.py",
                    "--data",
                    "--min-accuracy",
                    "--network",
                    "--device",
                ),
            },
        ),
    },
    "data fetch": {"": Mode("data fetch", {})},
    "data list": {"": Mode("data list", {})},
    "data split": {
        "": Mode(
            "data split mnist --held-out 1 --to new",
            shown_by(
                "tests/trainer/evaluation/test_acceptance.py", "--held-out", "--to"
            ),
        )
    },
    "experiment": {
        "list": Mode(
            "experiment",
            {
                "--quick": ShownBy("tests/trainer/cli/test_experiments.py"),
                "--seeds": ShownBy("tests/trainer/cli/test_experiments.py"),
                "--out": ShownBy("tests/trainer/cli/test_experiments.py"),
                "--processes": Refused("2"),
                **refused("--trainer", "--builder", "--url", "--ca", "--token-file"),
            },
        ),
        "smoke version": Mode(
            "experiment mnist-baseline --quick",
            {
                "--quick": Chooses(),
                "--seeds": Refused("2"),
                "--trainer": Acts("lab", 2, "go together"),
                "--builder": Acts("builder.pub.pem", 2, "go together"),
                **shown_by(
                    "tests/trainer/cli/test_experiments.py", "--out", "--processes"
                ),
                **refused("--url", "--ca", "--token-file"),
            },
        ),
        "ordered": Mode(
            "experiment mnist-baseline --trainer lab --builder builder.pub.pem",
            {
                "--trainer": Chooses(),
                "--builder": missing(),
                **CONNECTION,
                **shown_by(
                    "tests/e2e/test_ordered_experiments.py",
                    "--out",
                    "--processes",
                    "--seeds",
                    "--quick",
                ),
            },
        ),
    },
    "export": {
        "unsigned": Mode(
            "export files/model.safetensors --out new",
            {
                "--network": Acts("nonsense", 2, "network"),
                "--to": Acts("nonsense", 2, "format"),
                "--opset": Acts("0", 2, "opset"),
                "--key": missing(),
                "--out": ShownBy("tests/e2e/test_export.py"),
                **refused("--passphrase-file"),
            },
        ),
        "signed": Mode(
            "export files/model.safetensors --out new --key alice.pem",
            {
                "--network": Acts("nonsense", 2, "network"),
                "--to": Acts("nonsense", 2, "format"),
                "--opset": Acts("0", 2, "opset"),
                "--out": ShownBy("tests/e2e/test_export.py"),
                **SIGNED,
            },
        ),
    },
    "fine-tune": {
        "": Mode(
            "fine-tune spec.json --parent files/model.safetensors --out new",
            {
                "--parent": missing(),
                **shown_by(
                    f"{TRAINING}::test_fine_tune_takes_the_parents_digest_from_the_file",
                    "--out",
                    "--device",
                    "--threads",
                ),
            },
        )
    },
    "lab": {
        "a zoo of its own": Mode(
            "lab",
            {
                "--url": Acts(SERVER, 2, "root and the operator's safe"),
                "--spec": missing(),
                **shown_by(LAB, "--out", "--peers"),
                **refused("--trust", "--safe", "--token-file", "--ca"),
            },
        ),
        "a zoo that runs": Mode(
            f"lab --url {SERVER} --trust root.json --safe files",
            {
                "--url": Chooses(),
                "--trust": Chooses(),
                "--safe": Chooses(),
                "--spec": missing(),
                **shown_by(LAB, "--out", "--peers", "--token-file", "--ca"),
            },
        ),
    },
    "rebuild": {
        "folder, builder": Mode(
            "rebuild held --builder builder.pub.pem",
            {
                "--builder": Chooses(),
                "--spec": missing(),
                "--trust": missing(),
                **shown_by(
                    "tests/trainer/cli/test_rebuild.py",
                    "--spot-check",
                    "--device",
                ),
                "--parent": ShownBy("tests/trainer/builds/test_build.py"),
                **refused("--url", "--ca", "--token-file"),
            },
        ),
        "folder, root": Mode(
            "rebuild held --trust root.json",
            {
                "--trust": Chooses(),
                "--builder": Acts("builder.pub.pem", 4, "a builder is pinned"),
                "--spec": missing(),
                **shown_by("tests/e2e/test_rebuild.py", "--spot-check", "--device"),
                "--parent": ShownBy("tests/trainer/builds/test_build.py"),
                **refused("--url", "--ca", "--token-file"),
            },
        ),
        "release": Mode(
            f"rebuild {RELEASE} --trust root.json",
            {
                "--trust": Chooses(),
                "--builder": Acts("builder.pub.pem", 4, "a builder is pinned"),
                "--spec": missing(),
                **shown_by("tests/e2e/test_rebuild.py", "--spot-check", "--device"),
                "--parent": ShownBy("tests/trainer/builds/test_build.py"),
                **CONNECTION,
            },
        ),
        "job": Mode(
            f"rebuild {JOB} --builder builder.pub.pem --spec spec.json",
            {
                **BUILT,
                "--trust": Refused(),
                **shown_by("tests/e2e/test_rebuild.py", "--spot-check", "--device"),
                "--parent": ShownBy("tests/trainer/builds/test_build.py"),
                **CONNECTION,
            },
        ),
    },
    "evaluate": {
        "no attack": Mode(
            "evaluate files/model.safetensors",
            {
                "--trigger": Acts("no-trigger", 2, "no-trigger", also=OF_MNIST),
                "--target-label": Acts("7", 2, "--target-label", also=OF_MNIST),
                "--spec": missing(),
                "--network": Acts("abacus", 2, "--dataset"),
                "--dataset": Acts("abacus", 2, "--network"),
                "--picture": Acts("new.png", 2, "--trigger", also=OF_MNIST),
                "--device": Acts("abacus", 2, "abacus", also=OF_MNIST),
            },
        ),
        "an attack": Mode(
            "evaluate files/model.safetensors --trigger single-pixel",
            {
                "--trigger": Chooses(),
                "--target-label": ShownBy(
                    f"{EVALUATING}::test_acc_and_asr_are_told_with_n_and_interval_and_drawn"
                ),
                "--spec": missing(),
                "--network": Acts("abacus", 2, "--dataset"),
                "--dataset": Acts("abacus", 2, "--network"),
                "--picture": Acts("held", 5, "held", also=AT_SEVEN),
                "--device": Acts("abacus", 2, "abacus", also=AT_SEVEN),
            },
        ),
    },
    "population build": {
        "": Mode("population build", {**POPULATION, "--processes": BUILT_BY_SOAK})
    },
    "population scan": {
        "": Mode("population scan", {**POPULATION, "--processes": BUILT_BY_SOAK})
    },
    "population report": {
        "": Mode(
            "population report",
            shown_by(
                f"{POPULATING}::test_the_report_reads_what_is_finished",
                "--out",
                "--quick",
            ),
        )
    },
    "scan": {
        "the data set's images": Mode(
            "scan files/model.safetensors",
            {
                "--spec": missing(),
                "--network": Acts("abacus", 2, "--dataset"),
                "--dataset": Acts("abacus", 2, "--network"),
                "--data": Acts(NONE, 1, NONE, also=("--network", "badnets-cnn")),
                "--held-out": Acts("5", 2, "--data", also=("--data", NONE)),
                "--without-data": ShownBy(
                    f"{SCANNING}::test_weights_alone_are_scanned_without_data"
                ),
                "--scanner": Acts("x-ray", 2, "x-ray", also=OF_MNIST),
                **shown_by(
                    f"{SCANNING}::test_a_limit_is_kept_and_told",
                    "--max-passes",
                    "--max-seconds",
                ),
                "--parent": Acts(NONE, 1, NONE, also=OF_MNIST),
                "--out": Acts("held", 5, "held", also=OF_MNIST),
                "--device": Acts("abacus", 2, "abacus", also=OF_MNIST),
            },
        ),
        "an adapter": Mode(
            "scan adapter",
            {
                **refused("--spec", "--network", "--data"),
                "--held-out": Refused("5"),
                "--scanner": Refused("last-layer"),
                "--dataset": Acts("abacus", 2, "abacus"),
                "--without-data": ShownBy(
                    f"{ADAPTERS}::test_without_sentences_the_search_for_a_word_is_skipped"
                ),
                **shown_by(
                    f"{ADAPTERS}::test_a_limit_is_kept_and_told",
                    "--max-passes",
                    "--max-seconds",
                ),
                "--parent": missing(),
                "--out": Acts("held", 5, "held"),
                "--device": Acts("abacus", 2, "abacus"),
            },
        ),
    },
    "inspect": {
        "a data set": Mode(
            "inspect files/model.safetensors --out new",
            {
                "--out": Acts("held", 5, "held"),
                "--spec": missing(),
                "--network": Acts("abacus", 2, "--dataset"),
                "--dataset": Acts("abacus", 2, "--network"),
                "--data": Acts(NONE, 1, NONE, also=("--network", "badnets-cnn")),
                **shown_by(
                    f"{INSPECTING}::test_a_registered_network_is_looked_at_on_the_last_images_of_its_data",
                    "--held-out",
                    "--layer",
                    "--units",
                ),
                "--device": Acts("abacus", 2, "abacus"),
            },
        ),
        "images of one's own": Mode(
            "inspect files/model.safetensors --out new --data list.json",
            {
                "--out": Acts("held", 5, "held"),
                "--spec": missing(),
                "--network": Acts("abacus", 2, "badnets-cnn"),
                "--data": Chooses(),
                **refused("--dataset"),
                "--held-out": Refused("3"),
                **shown_by(
                    f"{INSPECTING}::test_what_cannot_be_inspected_is_refused",
                    "--layer",
                ),
                **shown_by(
                    f"{INSPECTING}::test_the_page_stands_alone_and_the_file_has_the_numbers_of_every_unit",
                    "--units",
                ),
                "--device": Acts("abacus", 2, "abacus"),
            },
        ),
    },
    "filter": {
        "the set of the spec": Mode(
            "filter files/model.safetensors",
            {
                "--filter": Acts("sieve", 2, "sieve"),
                "--share": ShownBy(
                    f"{SAMPLES}::test_what_cannot_be_judged_is_refused_in_one_line"
                ),
                "--data": Acts(NONE, 1, NONE, also=("--network", "badnets-cnn")),
                "--spec": missing(),
                **refused("--network"),
                "--out": Acts("held", 5, "held"),
                "--device": Acts("abacus", 2, "abacus"),
            },
        ),
        "images of one's own": Mode(
            "filter files/model.safetensors --data list.json",
            {
                "--filter": Acts("sieve", 2, "sieve"),
                "--share": ShownBy(
                    f"{SAMPLES}::test_images_of_a_file_are_filtered_and_nobody_is_judged"
                ),
                "--data": Chooses(),
                "--spec": missing(),
                "--network": ShownBy(
                    f"{SAMPLES}::test_images_of_a_file_are_filtered_and_nobody_is_judged"
                ),
                "--out": Acts("held", 5, "held"),
                "--device": Acts("abacus", 2, "abacus"),
            },
        ),
    },
    "guard": {
        "the data set's images": Mode(
            "guard files/model.safetensors --images list.json",
            {
                "--images": Chooses(),
                "--guard": Acts("dog", 2, "dog"),
                "--false-alarms": ShownBy(
                    f"{SAMPLES}::test_what_cannot_be_judged_is_refused_in_one_line"
                ),
                "--spec": missing(),
                "--network": Acts("abacus", 2, "--dataset"),
                "--dataset": Acts("abacus", 2, "--network"),
                "--data": ShownBy(f"{SAMPLES}::{OWN_CLEAN}"),
                "--held-out": ShownBy(
                    f"{SAMPLES}::test_triggered_inputs_are_held_up_and_few_clean_ones"
                ),
                "--device": Acts("abacus", 2, "abacus"),
            },
        ),
        "clean images of one's own": Mode(
            "guard files/model.safetensors --images list.json --data list.json",
            {
                "--images": Chooses(),
                "--guard": Acts("dog", 2, "dog"),
                "--false-alarms": ShownBy(f"{SAMPLES}::{OWN_CLEAN}"),
                "--spec": missing(),
                "--network": Acts("abacus", 2, "--dataset"),
                "--dataset": Acts("abacus", 2, "--network"),
                "--data": Chooses(),
                "--held-out": Refused("3"),
                "--device": Acts("abacus", 2, "abacus"),
            },
        ),
    },
    "diff": {
        "weights": Mode(
            "diff files/model.safetensors files/model.safetensors",
            {
                "--spec": missing(),
                "--network": Acts("abacus", 2, "abacus"),
                "--out": TO_TAKEN,
                **refused("--dataset", "--data", "--device"),
                "--held-out": Refused("5"),
            },
        ),
        "behaviour": Mode(
            "diff files/model.safetensors files/model.safetensors "
            "--network badnets-cnn",
            {
                "--network": Chooses(),
                "--spec": Acts(NONE, 2, "--spec"),
                "--dataset": Refused("mnist"),
                "--data": missing(),
                "--held-out": Acts("5", 2, "--held-out: nothing says"),
                "--device": Acts("abacus", 2, "abacus"),
                "--out": TO_TAKEN,
            },
        ),
        "behaviour on a file": Mode(
            "diff files/model.safetensors files/model.safetensors "
            f"--network badnets-cnn --data {NONE}",
            {
                "--network": Chooses(),
                "--data": Chooses(),
                "--spec": Acts(NONE, 2, "--spec"),
                "--dataset": Refused("mnist"),
                "--held-out": Refused("5"),
                "--device": Acts("abacus", 2, "abacus"),
                "--out": TO_TAKEN,
            },
        ),
        "behaviour on held-out images": Mode(
            "diff files/model.safetensors files/model.safetensors "
            "--network badnets-cnn --dataset mnist --held-out 9999999",
            {
                "--network": Chooses(),
                "--dataset": Chooses(),
                "--held-out": Chooses(),
                "--spec": Acts(NONE, 2, "--spec"),
                "--data": Refused(),
                "--device": Acts("abacus", 2, "abacus"),
                "--out": TO_TAKEN,
            },
        ),
    },
    "repair": {
        "": Mode(
            "repair spec.json --parent files/model.safetensors --out new",
            {
                "--parent": missing(),
                **shown_by(
                    f"{EVALUATING}::test_a_repair_tells_acc_and_asr_before_and_after",
                    "--trigger",
                    "--target-label",
                ),
                "--without-scan": ShownBy(
                    f"{TRAINING}::test_repair_says_which_units_it_cut"
                ),
                "--network": Acts("resnet6", 2, "expected package.module:function"),
                **shown_by(
                    f"{TRAINING}::test_repair_says_which_units_it_cut",
                    "--out",
                    "--device",
                    "--threads",
                ),
            },
        )
    },
    "train": {"": Mode("train train.json --out new", BUILD)},
    "worker": {
        "": Mode(
            f"worker --url {SERVER} --trainer lab --key builder.pem --scratch new",
            {
                "--trainer": ShownBy("tests/e2e/test_outsourced_jobs.py"),
                "--scratch": Acts("held", 1, "held is not empty"),
                **SIGNED,
                **CONNECTION,
            },
        )
    },
}
TABLE: dict[str, dict[str, Mode]] = {**ZOO, **TRUST, **SERVICE, **TRAINER}
"""Command -> mode -> what each option does."""
