"""The command line: `seawall VERB`. Every error is one line on stderr with a documented exit code.

A verb's module imports what is heavy inside its function, so that `seawall --help` is quick.
"""

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Annotated, NoReturn

import typer

from seawall import __version__
from seawall.cli import console
from seawall.cli.console import moment
from seawall.core.clock import SystemClock
from seawall.core.errors import SeawallError

DONE = 0
WRONG = 2
INTERRUPTED = 130
INTERNAL = 70
PIPE_CLOSED = 141

EXIT_CODES = """\b
Exit codes:
    0  done
    1  a check has failed
    2  a wrong command line or setting
    3  data that cannot be used
    4  a market-data feed that cannot be opened or broke
    5  a journal, tape or folder that cannot be read or written
    6  the dashboard's address is taken
    7  an exchange that does not answer or says no
    8  the books disagree: trading was stopped
   70  an internal error; a file with details is named
  130  interrupted

\b
Start here:
  seawall run                       trade on paper, dashboard on port 8000
  seawall backtest TAPE             what would have come of a recorded market
  seawall exchange                  a practice exchange for any bot
  seawall COMMAND --help            examples for each command
"""


def application() -> typer.Typer:
    """The app with all its verbs."""
    from seawall.cli import (
        attack,
        backtest,
        calibrate,
        data,
        doctor,
        exchange,
        keys,
        new,
        parity,
        preflight,
        provenance,
        reconcile,
        report,
        research,
        run,
        simulate,
        stress,
        trading,
    )

    app = typer.Typer(
        name="seawall",
        add_completion=False,
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )
    app.callback(epilog=EXIT_CODES)(_no_verb)
    app.command(epilog=run.EXAMPLES)(run.run)
    app.command(epilog=backtest.EXAMPLES)(backtest.backtest)
    app.add_typer(attack.app, name="attack")
    app.add_typer(calibrate.app, name="calibrate")
    app.add_typer(data.app, name="data")
    app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
    app.command(name="emergency-stop", epilog=trading.STOP_EXAMPLES)(trading.emergency_stop)
    app.command(epilog=exchange.EXAMPLES)(exchange.exchange)
    app.add_typer(keys.app, name="keys")
    app.add_typer(new.app, name="new")
    app.command(epilog=parity.EXAMPLES)(parity.parity)
    app.command(epilog=preflight.EXAMPLES)(preflight.preflight)
    app.add_typer(provenance.app, name="provenance")
    app.command(epilog=reconcile.EXAMPLES)(reconcile.reconcile)
    app.command(epilog=trading.RELEASE_EXAMPLES)(trading.release)
    app.command(epilog=report.EXAMPLES)(report.report)
    app.command(epilog=research.SEARCH_EXAMPLES)(research.search)
    app.command(epilog=simulate.EXAMPLES)(simulate.simulate)
    app.add_typer(stress.app, name="stress")
    app.command(name="walk-forward", epilog=research.WALK_FORWARD_EXAMPLES)(research.walk_forward)
    return app


def _no_verb(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Trade crypto in hostile markets: safely, or not at all."""
    if version:
        typer.echo(f"seawall {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(WRONG)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (`sys.argv` by default) and leave with its exit code."""
    with _terminated_as_interrupted():
        code = _exit_code(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """On SIGTERM a command keeps what it has, takes its processes and files away, and leaves."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        command = typer.main.get_command(application())
        with command.make_context("seawall", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as left:
        return left.exit_code
    except SeawallError as error:
        return _complain(str(error), error.exit_code)
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, one line and a file
        return _crash(error)
    return DONE


def _complain(message: str, code: int) -> int:
    typer.echo(f"seawall: {' '.join(message.split())}", err=True)
    return code


def _usage(error: typer.TyperException) -> int:
    """What is wrong with a command line, and where its help is."""
    message = error.format_message()
    if message.startswith("Usage:"):  # a group without its verb: typer hands over the help itself
        typer.echo(message)
        return error.exit_code
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "seawall"
    return _complain(f"{message.rstrip('.')} (try: {where} --help)", error.exit_code)


def _crash(error: Exception) -> int:
    """A defect of ours: the traceback goes to a file, one line to the user."""
    what = f"internal error: {type(error).__name__}: {error}"
    file = console.data_folder() / "crash.log"
    when = moment(SystemClock().now())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as log:
            log.write(f"{when} seawall {__version__} {' '.join(sys.argv[1:])}\n")
            traceback.print_exception(error, file=log)
    except OSError as trouble:
        full = "; the disk is full" if trouble.errno == errno.ENOSPC else ""
        return _complain(f"{what}; details could not be written to {file}{full}", INTERNAL)
    return _complain(f"{what}; details in {file}", INTERNAL)


__all__ = ["EXIT_CODES", "application", "main"]
