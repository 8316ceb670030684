"""The ``crossdock`` command: the group, and the one place where an error becomes a line and an exit code.

Importing this module and asking for help loads click and nothing heavier; each command imports the library when it runs.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import click

from crossdock import __version__
from crossdock.cli.cat import cat
from crossdock.cli.check import check
from crossdock.cli.cleanup import cleanup
from crossdock.cli.connectors import connectors
from crossdock.cli.convert import convert
from crossdock.cli.copy import cp
from crossdock.cli.demo import demo
from crossdock.cli.du import du
from crossdock.cli.exit_codes import ExitCode, exit_code_of_error
from crossdock.cli.export import export
from crossdock.cli.flags import TYPED, VERBOSE
from crossdock.cli.flows import flows
from crossdock.cli.help import examples
from crossdock.cli.ingest import ingest
from crossdock.cli.listing import ls
from crossdock.cli.mv import mv
from crossdock.cli.plan import plan
from crossdock.cli.retry import retry
from crossdock.cli.rm import rm
from crossdock.cli.run import run
from crossdock.cli.run_records import runs_compact, runs_export, runs_report, runs_rm
from crossdock.cli.runs import runs, runs_resume
from crossdock.cli.sql import sql
from crossdock.cli.sync import sync
from crossdock.cli.tables import head, schema

__all__ = ["cli", "main"]


_KEEPING = (
    "cp",
    "sync",
    "mv",
    "convert",
    "ingest",
    "export",
    "resume",
    "retry",
    "runs",
    "demo",
)  # commands of which a run is left


class _Cli(click.Group):
    """A group that never shows a traceback for a user's mistake."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words: the verdict names the command to type next."""
        ctx.meta[TYPED] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes one line on stderr and the exit code of its kind."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click's own way of ending: usage errors show the usage and exit 2
        except BrokenPipeError:
            _detach_stdout()
            ctx.exit(ExitCode.BROKEN_PIPE)
        except (Exception, KeyboardInterrupt) as error:
            _print_error(error, command=ctx.invoked_subcommand or "", verbose=int(ctx.meta.get(VERBOSE, 0)))
            ctx.exit(exit_code_of_error(error))


@click.group(
    cls=_Cli,
    context_settings={
        "auto_envvar_prefix": "CROSSDOCK",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog=examples(
        "crossdock cp s3://landing/2024/ gs://archive/2024/",
        "crossdock ls -l gs://archive/2024/",
        "crossdock runs resume 20261120T101500-4f2a",
        "crossdock demo",
    ),
)
@click.version_option(__version__, prog_name="crossdock")
def cli() -> None:
    """Move data between clouds: exact, proven, restartable.

    \b
    Exit codes: 0 done and verified, 1 unexpected error, 2 usage, 3 nothing matched or
    source missing, 4 credentials or permission, 5 some objects failed (resumable),
    6 differences found, 7 a limit stopped it, 8 refused for safety, 130 interrupted.
    """  # noqa: D301 - \b is click's mark for a paragraph that is not to be re-wrapped


for _command in (
    plan,
    cp,
    sync,
    mv,
    check,
    ls,
    retry,
    rm,
    du,
    cat,
    convert,
    ingest,
    export,
    head,
    schema,
    sql,
    runs,
    cleanup,
    connectors,
    flows,
    run,
    demo,
):
    cli.add_command(_command)
cli.add_command(runs_resume, name="resume")  # as in `xd.resume`; it is one of `runs` too
for _command in (runs_report, runs_export, runs_rm, runs_compact):
    runs.add_command(_command)


def main() -> None:
    """The console script."""
    # A scheduler's or container's SIGTERM deserves the same orderly end as Ctrl-C: state saved, exit 130.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cli.main(prog_name="crossdock")
    except SystemExit as end:
        if end.code == ExitCode.INTERRUPTED:
            _leave_at_once()
        raise


def _leave_at_once() -> NoReturn:
    """End an interrupted process without finalising the interpreter; all state is saved by now.

    Threads of native libraries (obstore's runtime, Arrow's pool) may still be at work, and finalising Python under
    them aborts the process now and then (SIGABRT instead of 130).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader went away, or it is closed
            stream.flush()
    os._exit(ExitCode.INTERRUPTED)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _print_error(error: BaseException, *, command: str, verbose: int) -> None:
    """One line: operation, place, cause, what to do next; with ``-v`` the traceback before it."""
    from crossdock.errors import CrossdockError, UnexpectedError

    expected = isinstance(error, CrossdockError) and not isinstance(error, UnexpectedError)
    if verbose and not isinstance(error, KeyboardInterrupt):
        import traceback

        sys.stderr.write("".join(traceback.format_exception(error)))
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted"
        if command in _KEEPING:
            text += (
                "; what was done is kept: the same command, or `crossdock runs resume`, goes on from there"
            )
    elif expected:
        text = str(error)
    else:
        name, cause = type(error).__name__, " ".join(str(error).split())
        text = f"unexpected error: {name}: {cause}; run with -v for the traceback, and please report it"
    sys.stderr.write(f"crossdock: {text}\n")


def _detach_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of raising once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    finally:
        os.close(nowhere)
