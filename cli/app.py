"""The command `regtrace`: finds the verb, runs it, turns what went wrong into one sentence and an exit code.

Verbs are loaded when they are used: `regtrace --help` imports none of them, and none of the libraries
they need. Help is plain text because formatting it with rich costs as much time as everything else here.
"""

import contextlib
import errno
import gc
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli.exits import MEANINGS, Exit
from cli.options.libraries import Unneeded, reads_one_capture
from cli.options.plain_words import take_plain_words
from cli.output.console import console
from cli.output.safe import visible
from cli.verbs import GROUPS, VERBS, Verb
from tracer.errors import RegtraceError

if TYPE_CHECKING:
    from cli.options.common import Example

__all__ = ["VERBS", "Verb", "app", "main"]


_FORMATS = {
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}


_unneeded = Unneeded()
_GC_OBJECTS = 50_000
_QUOTED = r"'[^']*'"
_NOT_ONE_OF = re.compile(rf"'(.*)' is not (?:one of )?({_QUOTED}(?:, {_QUOTED})*)\.?\Z", re.DOTALL)


class _Command(TyperCommand):
    """One verb; its plain words are taken as they are."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401
        return take_plain_words(super().get_params(ctx))


class _Verbs(TyperGroup):
    """The verbs, each imported on its first use."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401
        return take_plain_words(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002, ANN401
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002, ANN401
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        module = importlib.import_module(verb.module)
        single = typer.Typer(add_completion=False, **_FORMATS)  # type: ignore[arg-type]
        single.command(cmd_name, cls=_Command, epilog=_examples(module.EXAMPLES))(
            getattr(module, verb.function)
        )
        command = typer.main.get_command(single)
        command.params += _common_options()
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        if args and args[0] not in VERBS:
            names: dict[str, Any] = dict.fromkeys(VERBS)
            self.commands = names  # what suggestions are made from
        _unneeded.numpy = not reads_one_capture(args)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002, ANN401
        width = max(map(len, VERBS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in group.items()])

    def make_context(self, *arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
        console.reset()
        try:
            return super().make_context(*arguments, **keywords)
        except typer.TyperException as problem:
            _make_plain(problem)
            raise

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except typer.TyperException as problem:
            _make_plain(problem)
            raise
        except (KeyboardInterrupt, RuntimeError) as stop:
            # DuckDB answers Ctrl-C with a RuntimeError of its own.
            if isinstance(stop, RuntimeError) and str(stop) != "Query interrupted":
                raise
            console.error("interrupted")
            raise typer.Exit(Exit.INTERRUPTED) from None
        except (RegtraceError, OSError, MemoryError) as problem:
            if isinstance(problem, OSError) and _is_closed_pipe(problem):
                _silence_stdout()
                raise typer.Exit(Exit.CLOSED_PIPE) from None
            if console.debug:
                raise
            console.error(_sentence(problem))
            raise typer.Exit(getattr(problem, "exit_code", Exit.ERROR)) from None


def _make_plain(problem: typer.TyperException) -> None:
    """Make a message about a wrong word one that suggests words, and that no terminal obeys."""
    message = getattr(problem, "message", None)  # what ends a run without a word has none
    if isinstance(message, str):
        problem.message = visible(_with_suggestion(message))


def _with_suggestion(message: str) -> str:
    """Return a message about a word that is none of a list, with the words close to it instead of the list."""
    found = _NOT_ONE_OF.search(message)
    if found is None:
        return message
    from tracer.registry.suggestions import advice

    word, listed = found.groups()
    words = [quoted[1:-1] for quoted in re.findall(_QUOTED, listed)]
    return f"{word!r} is not one of its words; {advice(word, words)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # Arrow's own allocator holds some 55 MiB more than C's while a trace is ingested, at no gain in time.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # A command makes few circles of objects: to look for them after every 700 objects takes a tenth of its time.
    gc.set_threshold(_GC_OBJECTS)
    sys.meta_path.insert(0, _unneeded)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, as services and `>&-` do
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(
            stream, "reconfigure"
        ):  # a letter that the terminal's encoding lacks must not end the run
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="regtrace")
    except KeyboardInterrupt:
        _leave()
    except SystemExit as end:
        if end.code == Exit.INTERRUPTED:
            _leave()
        raise
    finally:
        gc.freeze()  # circles end with the process; Python would look for them in everything that is loaded


def _leave() -> None:
    """End the process at once: Python would wait for a query that does not stop; temporary files are gone.

    Nothing that atexit was asked for is done, so sessions, which outlive a process, are ended here.
    """
    endings = sys.modules.get("tracer.windows.exit_handlers")  # where nothing live was done it is not there
    if endings is not None:
        endings.run_all()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(Exit.INTERRUPTED)


def _sentence(problem: BaseException) -> str:
    if isinstance(problem, MemoryError):
        return "out of memory; close other programs, or narrow the question (--key, --from, --to)"
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        if problem.errno == errno.ENOSPC:
            return f"{where or 'the output cannot be written: '}the disk is full"
        if problem.errno == errno.EMFILE:
            return f"{where}too many open files; raise the limit (ulimit -n)"
        return f"{where}{problem.strerror[:1].lower()}{problem.strerror[1:]}"
    return str(problem) or type(problem).__name__


def _is_closed_pipe(problem: OSError) -> bool:
    # Windows reports a closed pipe on standard output as EINVAL, without a file name.
    return problem.errno == errno.EPIPE or (
        os.name == "nt" and problem.errno == errno.EINVAL and problem.filename is None
    )


def _silence_stdout() -> None:
    """Redirect standard output to the null device, so that the interpreter's last flush does not fail."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _examples(examples: "Sequence[Example]") -> str:
    r"""Return an epilogue that keeps its lines (``\b``)."""
    lines = ["\b", "Examples:"]
    for example in examples:
        lines += [f"  # {example.purpose}", f"  {example.command}"]
    return "\n".join(lines)


def _set_quiet(value: bool) -> None:
    console.quiet = console.quiet or value


def _set_debug(value: bool) -> None:
    console.debug = console.debug or value


def _set_pager(value: bool) -> None:
    console.pager = console.pager and not value


def _print_version(value: bool) -> None:
    if value:
        import regtrace as public

        print(f"regtrace {public.__version__}")
        raise typer.Exit


_Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_set_quiet, is_eager=True, expose_value=False,
        help="No progress, summaries or hints; warnings and errors remain.",
    ),
]  # fmt: skip
_NoPager = Annotated[
    bool,
    typer.Option(
        "--no-pager", callback=_set_pager, is_eager=True, expose_value=False,
        help="On a terminal show the first rows of a long table and their number, in place of a pager.",
    ),
]  # fmt: skip
_Debug = Annotated[
    bool,
    typer.Option(
        "--debug", callback=_set_debug, is_eager=True, expose_value=False,
        help="Show the traceback behind an error.",
    ),
]  # fmt: skip
_Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, expose_value=False, help="Print the version."
    ),
]


def _common_options() -> list[Any]:
    """Return --quiet, --no-pager and --debug, which every verb accepts too, as parameters of a command."""
    holder = typer.Typer(add_completion=False, **_FORMATS)  # type: ignore[arg-type]

    @holder.command()
    def options(quiet: _Quiet = False, no_pager: _NoPager = False, debug: _Debug = False) -> None:
        pass

    return [parameter for parameter in typer.main.get_command(holder).params if parameter.name != "help"]


_EPILOGUE = "\n".join(
    [
        "\b",
        "Start here:",
        "  regtrace demo                                   the whole job on a simulated trace",
        "  regtrace ingest boot.etl -o boot.regtrace       from a trace to a capture",
        "  regtrace timeline boot.regtrace --key 'HKLM\\**\\Run'",
        "",
        "\b",
        "Exit codes:",
        *(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items()),
    ]
)

app = typer.Typer(cls=_Verbs, no_args_is_help=True, **_FORMATS)  # type: ignore[arg-type]


@app.callback(epilog=_EPILOGUE)
def regtrace(
    quiet: _Quiet = False, no_pager: _NoPager = False, debug: _Debug = False, version: _Version = False
) -> None:
    """Tell what happened to each Windows registry key, in order and by whom.

    Reads ETW traces, Procmon logs, and traces it simulated itself.
    """


if __name__ == "__main__":
    main()
