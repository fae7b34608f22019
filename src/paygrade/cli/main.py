"""The command line: `paygrade` and the rooms behind it.

Laws: exit codes are 0 ok, 1 denied or refused, 2 usage, 3 unavailable; every command takes `--json`; a command's
module is imported when the command runs, so `paygrade --help` stays quick.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from paygrade.values.errors import Refused, Unavailable

OK, DENIED, USAGE, UNAVAILABLE = 0, 1, 2, 3

_COMMANDS = {
    "init": "Write a starter catalog and settings.",
    "dev": "Run a server and a simulator to build your app against.",
    "demo": "See a whole company on it: 50 accounts, and ten things to try.",
    "serve": "Run the server.",
    "migrate": "Apply pending migrations to the database.",
    "doctor": "Check settings, database, clock, provider and catalog.",
    "catalog": "Read, plan and publish the catalog.",
    "gen": "Make type definitions for your app from the catalog.",
    "check": "Check whether an account can use a feature, and why.",
    "consume": "Check and count usage in one step.",
    "track": "Report usage.",
    "explain": "Explain a decision.",
    "decisions": "Show logged decisions, and ask them again.",
    "accounts": "Show and change accounts, overrides and blocks.",
    "contracts": "Sell by contract, and say what became of its invoices.",
    "nodes": "Limit teams, people and agents below an account.",
    "snapshot": "Write files of what accounts may do, for an SDK or for your records.",
    "sync": "Show and repair billing sync.",
    "usage": "Show and check the usage reported to Stripe.",
    "reports": "Report revenue, and who pays for what they have.",
    "keys": "Create, list, rotate and revoke API keys.",
    "people": "Say who may log in, and their roles.",
    "approvals": "Approve or decline what needs a second person.",
    "webhooks": "Send changes to your own systems, and see what arrived.",
    "updates": "Show and follow what changes.",
    "tokens": "Issue account tokens and rotate their key.",
    "audit": "Show who did what, and check that nobody has changed it.",
    "mcp": "Let an assistant read and change what the server knows.",
    "ingest": "Take usage events from NATS JetStream.",
    "import": "Take over an existing billing account, or past usage.",
    "simulator": "Run the Stripe simulator, its clock and its weather.",
}

_MODULES = {"import": "imports"}
"""What cannot be a module's name in Python."""


class _Lazy(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = _MODULES.get(name, name)
        command = getattr(import_module(f"paygrade.cli.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # Click's own way asks every command for a close match and would import them all.
        command = self.get_command(ctx, args[0])
        if command is None:
            from difflib import get_close_matches

            close = get_close_matches(args[0], list(_COMMANDS), n=1)
            hint = f"did you mean `{close[0]}`?" if close else "see `paygrade --help`"
            ctx.fail(f"there is no command `{args[0]}`; {hint}")
        return args[0], command, args[1:]


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(package_name="paygrade", message="%(version)s")
def paygrade() -> None:
    """Keep what customers can do in line with what they pay for.

    Commands that talk to a server use the address in PAYGRADE_URL (http://127.0.0.1:4710) and the key in
    PAYGRADE_API_KEY. Exit codes: 0 ok, 1 denied or refused, 2 usage, 3 unavailable.
    """


def main() -> None:
    """Run, and turn the domain's failures into exit codes."""
    try:
        sys.exit(paygrade.main(standalone_mode=False) or OK)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)  # as shells count a SIGINT
    except Exception as error:
        code = _explained(error)
        if code is None:
            raise
        sys.exit(code)


def _explained(error: Exception) -> int | None:
    """Say what a failure of the domain means and return its exit code; None for one we did not expect."""
    # Not at the top: loading it takes a third of the time that `--help` may take.
    from paygrade.values.errors import Refused, Unavailable

    match error:
        case Refused(code="invalid_settings"):
            code = USAGE
        case Refused():
            code = DENIED
        case Unavailable():
            code = UNAVAILABLE
        case _:
            return None
    _complain(error)
    return code


def _complain(error: "Refused | Unavailable") -> None:
    mistakes: tuple[object, ...] = getattr(error, "mistakes", ())
    if "--json" in sys.argv:
        import msgspec

        told: dict[str, Any] = {"code": error.code, "detail": error.detail, "errors": mistakes}
        click.echo(msgspec.json.encode(told).decode(), err=True)
        return
    click.secho(f"{error.code}: ", fg="red", nl=False, err=True)
    if len(mistakes) > 1:
        click.echo(f"{len(mistakes)} mistakes", err=True)
        for mistake in mistakes:
            click.echo(f"  {mistake}", err=True)
    else:
        click.echo(error.detail, err=True)
