"""``zoo audit | trust check``: what a list of models lacks, or a TUF repository."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from model_zoo.audit.rules import Audit
from model_zoo.audit.rules import audit as audit_entries
from model_zoo.cli.options import Authority, Connection, TokenFile, refuse_options
from model_zoo.cli.output import emit, say
from model_zoo.clock import system_clock

MIB = 1024 * 1024
MAX_NAME_CHARACTERS = 40

ListPath = Annotated[
    Path, typer.Argument(help="A .json or .csv file, or a folder of readmes.")
]
MayFetch = Annotated[
    bool, typer.Option("--fetch", help="Download what is not at hand, to compare it.")
]
MaxMib = Annotated[int, typer.Option(min=1, help="Of longer files nothing is said.")]
CheckedUrl = Annotated[str, typer.Argument(help="Where the zoo is.")]
TrustRoot = Annotated[
    Path | None,
    typer.Option("--trust", envvar="ZOO_TRUST_ROOT", help="The root clients pin."),
]
Watch = Annotated[
    float, typer.Option(min=0, help="Look again and again for so many seconds.")
]
Deep = Annotated[bool, typer.Option("--deep", help="Download and hash every target.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("audit")(audit)


def audit(
    context: typer.Context,
    path: ListPath,
    *,
    fetch: MayFetch = False,
    max_mib: MaxMib = 1024,
) -> None:
    """Audit any list of models.

    Exit 1 if anything is found, or if --fetch could not compare a file.
    """
    if not fetch:
        refuse_options(context, "max_mib", why="only with --fetch")
    from model_zoo.audit.lists import read_model_list
    from model_zoo.audit.remote import remote_digests

    how = partial(remote_digests, limit_bytes=max_mib * MIB) if fetch else None
    found = audit_entries(read_model_list(path), fetch=how)
    report = found.to_report()
    for line in (*_table(found), *_unreadable(found)):
        say(line)
    unseen = [entry for entry in found.entries if entry.unseen] if fetch else []
    for entry in unseen:
        say(f"{entry.name or entry.where}: not compared: {entry.unseen}")
    for rule, advice in report["advice"].items():
        say(f"{rule}: {report['totals'][rule]} of {report['models']}; {advice}")
    say(f"{report['files_compared']} of {report['models']} files compared")
    emit(report)
    if report["advice"] or unseen:
        raise typer.Exit(1)  # not by an error: that would print a second document


def _unreadable(found: Audit) -> list[str]:
    return [
        f"{entry.where}: {it.told}"
        for entry in found.entries
        for it in entry.findings
        if it.rule == "unreadable"
    ]


def _table(found: Audit) -> list[str]:
    names = [entry.name or entry.where for entry in found.entries]
    width = min(MAX_NAME_CHARACTERS, max(map(len, names)))
    return [
        f"{name[:width]:{width}}  {entry.checked:11}  "
        f"{', '.join(it.rule for it in entry.findings) or 'nothing found'}"
        for name, entry in zip(names, found.entries, strict=True)
    ]


def check(
    url: CheckedUrl,
    *,
    trust: TrustRoot = None,
    watch: Watch = 0,
    deep: Deep = False,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Check a zoo's trust metadata and targets from outside; exit 1 on any failure."""
    from model_zoo.repository_checks.check import Extent, check_repository
    from model_zoo.repository_checks.observe import Severity
    from model_zoo.tuf.updater import read_root

    extent = Extent(
        pinned=None if trust is None else read_root(trust),
        deep=deep,
        watch_seconds=watch,
    )
    server = Connection(url=url, ca=ca, token_file=token_file).server()
    findings = check_repository(server, extent, clock=system_clock)
    failures = sum(finding.severity is Severity.FAILURE for finding in findings)
    for finding in findings:
        say(str(finding))
    emit(
        {
            "url": url,
            "findings": [finding.to_object() for finding in findings],
            "failures": failures,
            "warnings": len(findings) - failures,
        }
    )
    say(f"{url}: {failures} failures, {len(findings) - failures} warnings")
    if failures:
        raise typer.Exit(1)  # not by an error: that would print a second document
