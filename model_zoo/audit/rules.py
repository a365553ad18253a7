"""An audit of a list of models: what stands between its words and the weights.

Each rule looks at one entry and says what is wrong, or nothing. What the rules look
for is what the Caffe Model Zoo was found to lack. An entry without a finding is not a
good model: it is a file that can be told from another one.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, the section on Caffe Model Zoo.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from model_zoo.audit.lists import DIGEST_SIZES, ModelEntry
from model_zoo.canonical import JsonObject
from model_zoo.documents import Document
from model_zoo.errors import (
    InvalidSpecError,
    LocalError,
    TransportError,
    VerificationError,
)
from model_zoo.files import open_plain, translate_os_errors

PIECE_BYTES = 1024 * 1024
STRONG = frozenset({"sha512", "sha256"})
UNSAFE_SUFFIXES = (
    *(".pt", ".pth", ".ckpt", ".pkl", ".pickle"),
    *(".joblib", ".h5", "pytorch_model.bin"),
)
"""Of files that common loaders unpickle, or build code from (Keras' lambda layers)."""
UNSAFE_LOADERS = ("pickle", "torch.load", "joblib", "yaml.load", "dill")

FetchDigests = Callable[[str, Collection[str]], dict[str, str]]
"""Returns algorithm -> digest of the file at a URL; raises where it cannot."""
Checked = Literal["match", "mismatch", "not checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedEntry:
    """What an entry says, and what its file turned out to be.

    Attributes:
        entry: as listed.
        found: algorithm -> digest of the file; empty where it was not looked at.
        unseen: why it was not.
    """

    entry: ModelEntry
    found: Mapping[str, str]
    unseen: str = ""

    @property
    def checked(self) -> Checked:
        """Whether the file is the one that the digests name."""
        if not self.found:
            return "not checked"
        return "mismatch" if _other_digests(self) else "match"


Rule = Callable[[ComparedEntry], str]
"""Returns what is wrong with an entry, in words; nothing where it is not."""


def unreadable(evidence: ComparedEntry) -> str:
    """Say why an entry could not be read."""
    return evidence.entry.problem


def no_digest(evidence: ComparedEntry) -> str:
    """Say that nothing tells the file from another one."""
    entry = evidence.entry
    return "" if entry.digests or entry.problem else "no digest: any file would do"


def bad_digest(evidence: ComparedEntry) -> str:
    """Say which digest is none."""
    digests = evidence.entry.digests
    bad = [
        f"{name} {digests[name][:80]!a}" for name in digests if _is_bad(name, digests)
    ]
    return f"not a digest: {', '.join(bad)}" if bad else ""


def digest_mismatch(evidence: ComparedEntry) -> str:
    """Say which digest the file does not have."""
    return "; ".join(
        f"{name} is {evidence.found[name]}, listed as {evidence.entry.digests[name]}"
        for name in _other_digests(evidence)
    )


def digest_beside_url(evidence: ComparedEntry) -> str:
    """Say that whoever can change the URL can change the digest."""
    entry = evidence.entry
    if not entry.digests or _is_elsewhere(entry.digest_source, entry.url):
        return ""
    return "the digest comes from where the URL does: who changes one changes both"


def weak_digest(evidence: ComparedEntry) -> str:
    """Say that two files with one digest can be made."""
    digests = evidence.entry.digests
    if not digests or STRONG & digests.keys():
        return ""
    return f"{', '.join(digests)}: two files with one such digest can be made"


def plain_http(evidence: ComparedEntry) -> str:
    """Say that anybody on the way can answer."""
    is_plain = evidence.entry.url.lower().startswith(("http:", "ftp:"))
    return "no TLS: anybody on the way can answer" if is_plain else ""


def unsafe_loader(evidence: ComparedEntry) -> str:
    """Say what can run code before, or while, the weights are read."""
    entry = evidence.entry
    if entry.has_yaml_tags:
        return "its front matter holds a YAML tag: yaml.load obeys it and runs code"
    if any(name in entry.loader.lower() for name in UNSAFE_LOADERS):
        return f"loaded by {entry.loader}: that can run code"
    names = [_path_of(entry.url), "" if entry.file is None else entry.file.name]
    unsafe = [name for name in names if name.lower().endswith(UNSAFE_SUFFIXES)]
    return (
        f"{unsafe[0][-80:]}: such files run code when they are loaded" if unsafe else ""
    )


def no_signature(evidence: ComparedEntry) -> str:
    """Say that nobody vouches for the file."""
    entry = evidence.entry
    return "" if entry.signature or entry.problem else "no signature: nobody vouches"


RULES: Mapping[str, Rule] = {
    "unreadable": unreadable,
    "digest-mismatch": digest_mismatch,
    "no-digest": no_digest,
    "bad-digest": bad_digest,
    "unsafe-loader": unsafe_loader,
    "plain-http": plain_http,
    "weak-digest": weak_digest,
    "digest-beside-url": digest_beside_url,
    "no-signature": no_signature,
}
"""The worst first."""

ADVICE: Mapping[str, str] = {
    "unreadable": "mend the entry; until then nothing is known of it",
    "digest-mismatch": "do not use the file; ask its author which one is meant",
    "no-digest": "ask the author for a SHA-256, by another way than the download",
    "bad-digest": "give the SHA-256 as 64 hexadecimal digits",
    "unsafe-loader": "ask for safetensors; else load it where nothing can be lost",
    "plain-http": "serve and link it by https",
    "weak-digest": "give a SHA-256",
    "digest-beside-url": "keep digests where the author of the list cannot write alone",
    "no-signature": "have the publisher sign, and pin his key: zoo publish, zoo pull",
}
"""What to do about a finding."""


class AuditFinding(Document):
    """What a rule says of an entry."""

    rule: str
    told: str


class AuditedEntry(Document):
    """An entry with all findings, and whether its file was compared."""

    where: str
    name: str
    checked: Checked
    unseen: str
    findings: tuple[AuditFinding, ...]


class Audit(Document):
    """What was found in a list."""

    entries: tuple[AuditedEntry, ...]

    def totals(self) -> dict[str, int]:
        """Return rule -> number of entries that it found something in."""
        return {
            rule: sum(
                any(it.rule == rule for it in entry.findings) for entry in self.entries
            )
            for rule in RULES
        }

    def names_of(self, rule: str) -> list[str]:
        """Return the names of the entries that ``rule`` found something in."""
        return [
            entry.name
            for entry in self.entries
            if any(it.rule == rule for it in entry.findings)
        ]

    def to_report(self) -> JsonObject:
        """Return the audit with its totals and what to do, as JSON values."""
        totals = self.totals()
        compared = sum(entry.checked != "not checked" for entry in self.entries)
        return {
            **self.to_object(),
            "models": len(self.entries),
            "files_compared": compared,
            "totals": totals,
            "advice": {rule: ADVICE[rule] for rule, count in totals.items() if count},
        }


def audit(entries: Iterable[ModelEntry], *, fetch: FetchDigests | None = None) -> Audit:
    """Return what every rule finds in every entry.

    A file beside the list is hashed. One that is not there is fetched with ``fetch``;
    without it nothing leaves this machine.
    """
    return Audit(entries=tuple(_audited(_look(it, fetch)) for it in entries))


def local_digests(path: Path, algorithms: Collection[str]) -> dict[str, str]:
    """Return algorithm -> hexadecimal digest of the file at ``path``.

    Raises:
        MalformedDocumentError: it is no plain file.
        LocalError: it cannot be read.
    """
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        while piece := file.read(PIECE_BYTES):
            for it in hashes.values():
                it.update(piece)
    return {name: it.hexdigest() for name, it in hashes.items()}


def _look(entry: ModelEntry, fetch: FetchDigests | None) -> ComparedEntry:
    """Compare the entry's file with its digests, where both are to be had."""
    names = [name for name in entry.digests if not _is_bad(name, entry.digests)]
    if not names:
        return ComparedEntry(entry=entry, found={}, unseen="nothing to compare with")
    try:
        if entry.file is not None:
            return ComparedEntry(entry=entry, found=local_digests(entry.file, names))
        if fetch is None or not entry.url:
            why = "its file is not at hand" + ("" if fetch else ", and not fetched")
            return ComparedEntry(entry=entry, found={}, unseen=why)
        return ComparedEntry(entry=entry, found=fetch(entry.url, names))
    except (InvalidSpecError, LocalError, TransportError, VerificationError) as error:
        return ComparedEntry(entry=entry, found={}, unseen=str(error))


def _audited(evidence: ComparedEntry) -> AuditedEntry:
    messages = {name: rule(evidence) for name, rule in RULES.items()}
    return AuditedEntry(
        where=evidence.entry.where,
        name=evidence.entry.name,
        checked=evidence.checked,
        unseen=evidence.unseen,
        findings=tuple(
            AuditFinding(rule=name, told=it) for name, it in messages.items() if it
        ),
    )


def _other_digests(evidence: ComparedEntry) -> list[str]:
    listed = evidence.entry.digests
    return [name for name, found in evidence.found.items() if found != listed[name]]


def _is_bad(name: str, digests: Mapping[str, str]) -> bool:
    text = digests[name]
    is_hex = all(letter in "0123456789abcdef" for letter in text)
    return len(text) != DIGEST_SIZES[name] or not is_hex


def _is_elsewhere(source: str, url: str) -> bool:
    """Whether ``source`` is an https URL of another host than ``url``."""
    host = _host_of(source)
    return source.startswith("https://") and host != "" and host != _host_of(url)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
