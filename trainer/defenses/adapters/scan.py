"""A scan of an adapter: it and its base are verified and judged together.

No verdict comes of it but "not scanned": there is no calibration for adapters, and
none of these scores has earned one (``zoo experiment adapters``). The scores are told.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model_zoo.canonical import parse_object
from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError, MalformedDocumentError, ZooError
from model_zoo.files import read_plain
from model_zoo.formats.safetensors import check_header, state_dict
from model_zoo.statements.scan import (
    NOT_SCANNED,
    ScannedFile,
    ScannerResult,
    ScanReport,
)
from trainer.defenses.adapters.spectrum import spectrum
from trainer.defenses.adapters.subject import AdapterSubject
from trainer.defenses.adapters.token_search import token_search
from trainer.defenses.scanners.maximum_margin import maximum_margin
from trainer.defenses.scanners.scan import (
    DECIMALS,
    MOST_CHARACTERS,
    MOST_PASSES,
    MOST_SECONDS,
    Scan,
    run_scanner,
)
from trainer.defenses.scanners.subject import Budget, Finding
from trainer.defenses.scanners.weights import last_layer
from trainer.text.adapters import CONFIG, MARKS, AdapterConfig, joined
from trainer.text.bases import CONFIG as BASE_CONFIG
from trainer.text.bases import TOKENIZER, Base, base_named
from trainer.text.encoder import MAX_CONFIGURATION_BYTES
from trainer.text.tokens import tokenizer_of, tokens_of
from trainer.text.training import answers

CPU = torch.device("cpu")
MAX_ADAPTER_BYTES = 256 * 1024 * 1024

ADAPTER_SCANNERS: dict[str, Callable[[AdapterSubject], Finding]] = {
    "spectrum": spectrum,
    "last-layer": lambda subject: last_layer(subject.joint),
    "maximum-margin": lambda subject: maximum_margin(subject.joint),
    "token-search": token_search,
}
"""The cheapest first."""
_NO_GATES = "attention and GELU have no gates that could be opened"
_OF_PIXELS = "it changes pixels; token-search is its counterpart for words"
SKIPPED = {
    "open-map": _NO_GATES,
    "reference-map": _NO_GATES,
    "dormant-units": "units behind GELU are never off",
    "universal": _OF_PIXELS,
    "by-class": _OF_PIXELS,
    "pairs": _OF_PIXELS,
    "neural-cleanse": _OF_PIXELS,
}
"""Scanners of images that do not apply, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRequest:
    """What an adapter is scanned with.

    Attributes:
        dataset: of the sentences; empty without.
        sentences: clean ones of the defender's own.
        labels: (N,) int64, theirs.
        passes: of one sentence through the classifier, at most.
        seconds: at most.
        seed: of every draw.
        device: where it runs.
    """

    dataset: str = ""
    sentences: Sequence[str] = ()
    labels: Tensor | None = None
    passes: int = MOST_PASSES
    seconds: float = MOST_SECONDS
    seed: int = 0
    device: torch.device = CPU


def is_adapter(weights: Path) -> bool:
    """Return whether a file is an adapter's, or says that it is.

    What no reader can take for anything is none.
    """
    if weights.with_name(CONFIG).is_file():
        return True
    try:
        names = check_header(weights).tensors
    except ZooError:
        return False
    return any(mark in name for name in names for mark in MARKS)


def scan_adapter(weights: Path, request: AdapterRequest) -> Scan:
    """Return what the scanners find in an adapter, with the base that it names.

    Raises:
        InvalidSpecError: there is no such base, or the labels are not of this adapter.
        DigestMismatchError: the base is another than the adapter was made for.
        MalformedDocumentError: tensors or configuration are not of an adapter of it.
        UnsafeFormatError: a weights file is no safetensors file.
        LocalError: a file cannot be read, or the extra ``text`` is not installed.
    """
    files = {
        weights.name: read_plain(weights, limit_bytes=MAX_ADAPTER_BYTES),
        CONFIG: read_plain(
            weights.with_name(CONFIG), limit_bytes=MAX_CONFIGURATION_BYTES
        ),
    }
    config = config_of(files[CONFIG])
    base = base_named(
        config.base_model_name_or_path,
        sha256=config.base_sha256,
        beside=weights.parent,
    )
    classifier = joined(base, config, state_dict(files[weights.name]))
    subject = AdapterSubject(
        classifier=classifier.to(request.device),
        tokens=_tokens(base, request, classes=classifier.classes),
        labels=request.labels,
        written=base.vocabulary(),
        budget=Budget(passes=request.passes, seconds=request.seconds),
        generator=torch.Generator().manual_seed(request.seed),
    )
    covered = {
        **files,
        **{f"{base.name}/{name}": it for name, it in base.files.items()},
    }
    report = _reported(subject, request).model_copy(
        update={
            "network": f"{base.name} with a rank-{config.r} adapter",
            "files": tuple(
                ScannedFile(name=name, sha256=sha256_bytes(it), size_bytes=len(it))
                for name, it in covered.items()
            ),
        }
    )
    return Scan(report=report, triggers={})


def config_of(data: bytes) -> AdapterConfig:
    """Return what an ``adapter_config.json`` says.

    Raises:
        MalformedDocumentError: it is of no adapter that is known here.
    """
    try:
        fields = parse_object(data, limit_bytes=MAX_CONFIGURATION_BYTES)
        return AdapterConfig.from_object(fields)
    except ValueError as error:
        msg = f"{CONFIG}: {error}"
        raise MalformedDocumentError(msg) from error


def _tokens(base: Base, request: AdapterRequest, *, classes: int) -> Tensor | None:
    if request.labels is None:
        return None
    if not 0 <= int(request.labels.min()) <= int(request.labels.max()) < classes:
        msg = (
            f"the sentences have labels up to {int(request.labels.max())}, the adapter "
            f"has {classes} classes"
        )
        raise InvalidSpecError(msg)
    tokens = tokens_of(tokenizer_of(base.files[TOKENIZER]), request.sentences)
    if int(tokens.max()) >= base.shape.vocab_size:
        msg = f"base {base.name}: {TOKENIZER} has tokens that {BASE_CONFIG} has not"
        raise MalformedDocumentError(msg)
    return tokens


def _reported(subject: AdapterSubject, request: AdapterRequest) -> ScanReport:
    """Return the report; files and name are filled in by the caller."""
    began = time.process_time()
    right = None
    if subject.tokens is not None and subject.labels is not None:
        found = answers(subject.classifier, subject.tokens.to(subject.device)).cpu()
        right = round((found == subject.labels).double().mean().item(), DECIMALS)
    results = run_all(subject)
    said = ["there is no calibration for adapters", *_word(results, subject.written)]
    idle = [f"{it.name} was {it.outcome}: {it.why}" for it in results if it.why]
    skipped = [
        ScannerResult(name=name, outcome="skipped", why=why)
        for name, why in SKIPPED.items()
    ]
    return ScanReport(
        verdict=NOT_SCANNED,
        why="; ".join([*said, *idle])[:MOST_CHARACTERS],
        scanners=(*results, *skipped),
        files=(),
        network="",
        dataset=request.dataset,
        images=len(request.sentences),
        accuracy=right,
        passes=subject.budget.spent,
        seconds=round(time.process_time() - began, 3),
    )


def run_all(subject: AdapterSubject) -> list[ScannerResult]:
    """Run every scanner that applies, and return what each did."""
    return [
        run_scanner(name, scanner, subject)[0]
        for name, scanner in ADAPTER_SCANNERS.items()
    ]


def _word(results: Sequence[ScannerResult], written: dict[int, str]) -> list[str]:
    """Return what the search for a word found, in words; nothing if it did not run."""
    for it in results:
        if "token" in it.features and it.score is not None:
            word, label = written[int(it.features["token"])], it.target_labels[0]
            return [f"{word!a} turns {it.score:.0%} of other sentences into {label}"]
    return []
