"""``zoo trust check``: everything that is wrong with a zoo's TUF repository."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import Authority, TokenFile, token
from model_zoo.cli.output import emit, say
from model_zoo.clock import system_clock
from model_zoo.http.server import Server

CheckedUrl = Annotated[str, typer.Argument(help="Where the zoo is.")]
TrustRoot = Annotated[
    Path | None,
    typer.Option("--trust", envvar="ZOO_TRUST_ROOT", help="The root clients pin."),
]
Watch = Annotated[
    float, typer.Option(min=0, help="Look again and again for so many seconds.")
]
Deep = Annotated[bool, typer.Option("--deep", help="Download and hash every target.")]


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
    server = Server(url, ca=ca, token=token(token_file))
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
