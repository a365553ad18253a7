"""Many who publish at once, and a reader who believes nothing."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from benchmarks.measuring import summary
from benchmarks.processes import ROOT, SideError, command, zoo_served
from benchmarks.repository.weights import write_weights
from model_zoo.canonical import JsonObject
from model_zoo.clock import system_clock
from model_zoo.http.server import Server
from model_zoo.names import ReleaseName
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Severity
from model_zoo.tuf.releases import read_release
from model_zoo.tuf.updater import refreshed

WEIGHTS_BYTES = 64 * 1024
PERCENTILE = 0.95


@dataclass(slots=True)
class _Told:
    """What the service has confirmed so far."""

    releases: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def listen(self, lines: IO[str]) -> None:
        """Take one line for each release."""
        for line in lines:
            told = json.loads(line)
            self.seconds.append(told["seconds"])
            self.releases.append(told["release"])


def measure_crowd(publishers: int, *, each: int) -> JsonObject:
    """Return what became of ``publishers`` who publish ``each`` releases at once.

    Meanwhile a client with an empty cache walks to the release that was confirmed
    last, another that remembers walks too, and the checker of repositories reads every
    role: none may find a thing wrong.
    """
    with TemporaryDirectory(prefix="zoo-bench-") as name, zoo_served(Path(name)) as url:
        folder = Path(name)
        reader = _Reader(url, folder)
        told = _Told()
        began = time.perf_counter()
        with _publishing(folder, url, told, publishers=publishers, each=each) as crowd:
            while crowd.poll() is None:
                reader.look(told)
        seconds = time.perf_counter() - began
        if crowd.returncode:
            said = (folder / "log").read_text(encoding="utf-8")
            msg = f"the crowd: exit {crowd.returncode}\n{said[-2000:]}"
            raise SideError(msg)
        reader.look(told)
        lost = reader.missing(told.releases)
    return _result(told, reader, lost=lost, wanted=publishers * each) | {
        "publishers": publishers,
        "releases a second": round(len(told.releases) / seconds, 2),
    }


def _result(told: _Told, reader: "_Reader", *, lost: int, wanted: int) -> JsonObject:
    seconds = sorted(told.seconds)
    at = min(len(seconds) - 1, round(PERCENTILE * len(seconds)))
    whole = not reader.findings and reader.looks > 1
    return {
        "confirmed": len(told.releases),
        "lost": lost,
        "seconds": summary(seconds) | {"p95": round(seconds[at], 4)},
        "looks": reader.looks,
        "findings": reader.findings,
        "goals": {
            "none lost of those confirmed": {
                "met": lost == 0 and len(told.releases) == wanted
            },
            "no reader saw an inconsistent repository": {"met": whole},
        },
    }


@dataclass(slots=True)
class _Reader:
    """Looks at the repository again and again, and keeps what is wrong with it."""

    url: str
    folder: Path
    looks: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def root(self) -> bytes:
        """The root to pin."""
        return (self.folder / "data" / "trust" / "root.json").read_bytes()

    def look(self, told: _Told) -> None:
        """Read everything once; what was confirmed before must be there."""
        confirmed = told.releases[-1:]
        with TemporaryDirectory(dir=self.folder) as cold:
            for cache in (Path(cold), self.folder / "warm"):
                if self.missing(confirmed, cache=cache):
                    self.findings.append(f"{confirmed[0]} is not there")
        extent = Extent(pinned=self.root)
        found = check_repository(Server(self.url), extent, clock=system_clock)
        self.findings += [str(it) for it in found if it.severity == Severity.FAILURE]
        self.looks += 1

    def missing(self, releases: list[str], *, cache: Path | None = None) -> int:
        """Return how many of ``releases`` the roles do not vouch for."""
        found = 0
        now = system_clock()
        where = cache or self.folder / "last"
        with refreshed(Server(self.url), self.root, cache=where, now=now) as zoo:
            for release in releases:
                name = ReleaseName.parse(release)
                found += read_release(zoo, name).statement.release == name
        return len(releases) - found


@contextmanager
def _publishing(
    folder: Path, url: str, told: _Told, *, publishers: int, each: int
) -> Iterator[subprocess.Popen[str]]:
    """Run the crowd as a child and let ``told`` listen to it."""
    files = folder / "files"
    files.mkdir()
    write_weights(files / "model.safetensors", size_bytes=WEIGHTS_BYTES)
    task = {
        "url": url,
        "root": str(folder / "data" / "trust" / "root.json"),
        "files": str(files),
        "caches": str(folder / "caches"),
        "publishers": publishers,
        "each": each,
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(  # noqa: S603  our own module
            command("crowd", task),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as child,
    ):
        if child.stdout is None:
            msg = "the crowd says nothing"
            raise SideError(msg)
        listening = threading.Thread(target=told.listen, args=(child.stdout,))
        listening.start()
        try:
            yield child
        finally:
            child.kill()
            listening.join()
