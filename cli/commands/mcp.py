"""`regtrace mcp`: a server of the Model Context Protocol on standard streams, which only answers questions."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import Example

__all__ = ["EXAMPLES", "mcp"]

EXAMPLES = (
    Example("regtrace mcp host.regtrace", "answer a client at standard input, until it leaves"),
    Example("regtrace mcp works.regtrace fails.regtrace", "two captures, which can be compared"),
    Example("regtrace mcp host.regtrace --rules sigma/rules/windows/registry", "with the tool rules"),
)


def mcp(
    captures: Annotated[
        list[Path],
        typer.Argument(
            metavar="CAPTURE", help="Captures, NAME.regtrace, or folders of them; nothing else is read."
        ),
    ],
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rules", metavar="PATH", help="Sigma rules: a file, a folder or a pattern. Repeatable."
        ),
    ] = None,
    policies: Annotated[
        Path | None,
        typer.Option(
            "--policy", metavar="DIR", help="A folder with registry.pol and .admx files of group policies."
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", metavar="N", min=0.1, max=3600, help="How long a question may take, seconds."
        ),
    ] = 30.0,
    answer_bytes: Annotated[
        int,
        typer.Option(
            "--bytes",
            metavar="N",
            min=1000,
            max=10_000_000,
            help="How large the rows of one answer may be, bytes.",
        ),
    ] = 60_000,
) -> None:
    """Answer a program that speaks the Model Context Protocol.

    A client starts this command and asks it over standard streams: its tools are the questions of regtrace. It can
    only read, and only these captures, rules and policies; names and data from a capture are marked as untrusted in every
    answer. docs/mcp.md says how a client is told of it. Needs the library mcp: pip install 'regtrace[mcp]'.
    """
    from analysis.server.limits import Limits
    from analysis.server.protocol import check_library, serve
    from analysis.server.service import Service
    from cli.output.console import console
    from regtrace import __version__

    check_library()
    limits = Limits(seconds=seconds, bytes=answer_bytes)
    with Service(captures, rules=rules or (), policies=policies, limits=limits) as service:
        console.say(f"{len(service.tools)} tools wait for a client at standard input; Ctrl-C ends the server")
        serve(service, version=__version__)
