"""Somebody at a machine with the ``zoo`` command, who follows a runbook."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_zoo import cli

PASSPHRASE = "correct horse battery"  # noqa: S105  guards keys of one test
HOLDERS = ("ann", "ben", "cat")


@dataclass
class Ran:
    code: int
    said: str
    document: Any


@dataclass
class Desk:
    """A machine with the ``zoo`` command, a pinned root and a folder of keys."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def run(self, *arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, arguments), "--json"])
        out, err = self.capsys.readouterr()
        return Ran(
            int(ended.value.code or 0), err, json.loads(out) if out.strip() else None
        )

    def done(self, *arguments: object) -> Ran:
        ran = self.run(*arguments)
        assert ran.code == 0, ran.said
        return ran

    def key(self, name: str) -> Path:
        """Return a new key's file; its public half lies beside it."""
        self.done("keys", "generate", self.folder / f"{name}.pem")
        return self.folder / f"{name}.pem"

    def public(self, name: str) -> Path:
        return self.folder / f"{name}.pub.pem"

    def sign(self, file: Path, *names: str) -> None:
        for name in names:
            self.done("trust", "sign", file, "--key", self.folder / f"{name}.pem")

    def at(self, url: str) -> None:
        self.monkeypatch.setenv("ZOO_URL", url)

    def delegate(self, publisher: str, key: str, *more: object) -> Ran:
        return self.run(
            "trust",
            "delegate",
            publisher,
            "--key",
            self.public(key),
            "--targets-key",
            self.folder / "targets.pem",
            *more,
        )

    def publish(self, name: str, key: str) -> Ran:
        files = self.folder / name.replace("/", "-")
        files.mkdir(exist_ok=True)
        (files / "config.json").write_text(json.dumps({"release": name}))
        return self.run(
            "publish", files, "--as", name, "--key", self.folder / f"{key}.pem"
        )

    def pull(self, name: str, to: str) -> Ran:
        return self.run("pull", name, "--to", self.folder / to)
