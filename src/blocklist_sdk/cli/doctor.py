"""``blocklist doctor``: what is wrong on this machine, and what to do about it."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blocklist_sdk.cli.exit_codes import worst_code
from blocklist_sdk.cli.output import AsJson, in_colour, write_json, write_line
from blocklist_sdk.cli.settings import FILES, LIST, SERVER, SINK, Settings, with_settings
from blocklist_sdk.texts import displayable

if TYPE_CHECKING:
    from blocklist_sdk.doctor.findings import Finding

_COLOURS: Final = {
    "ok": typer.colors.GREEN,
    "warn": typer.colors.YELLOW,
    "fail": typer.colors.RED,
    "skipped": typer.colors.BRIGHT_BLACK,
}


@with_settings(*LIST, *FILES, *SERVER, *SINK)
def doctor(
    settings: Settings,
    sink: Annotated[
        list[str] | None,
        typer.Option(envvar="BLOCKLIST_SINK", metavar="URL", help="A sink to look at as well; may be repeated."),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The sink's name, under which its ledger is kept.")
    ] = "default",
    offline: Annotated[bool, typer.Option("--offline", help="Leave the network alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check everything that a list needs on this machine, and say for each fault what to do; changes nothing.

    It looks at versions, settings, root, account, disk, proxy, certificates, connection, clocks, the repository, the
    list, overrides, ledgers and sinks. Exits with 0 if nothing failed, or else with the code of the worst fault;
    warnings do not count. No secret is shown.
    """
    from blocklist_sdk.doctor.examination import examine
    from blocklist_sdk.doctor.patient import Patient

    patient = Patient.of(settings, sinks=sink or (), sink_name=name, is_offline=offline)
    found: list[Finding] = []
    coloured = in_colour(sys.stdout)
    for finding in examine(patient):
        found.append(finding)
        if not as_json:
            _show(finding, coloured=coloured)
    if as_json:
        write_json({"findings": [finding.document() for finding in found]})
    else:
        counts = {outcome: sum(each.outcome == outcome for each in found) for outcome in _COLOURS}
        write_line(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    raise typer.Exit(worst_code(each.error for each in found if each.error is not None))


def _show(finding: "Finding", *, coloured: bool) -> None:
    word = f"{finding.outcome:<8}"
    styled = typer.style(word, fg=_COLOURS[finding.outcome]) if coloured else word
    typer.echo(f"{styled}{displayable(f'{finding.name:<13} {finding.message}')}")
    if finding.remedy is not None:
        write_line(f"{'':<8}{'':<13} → {finding.remedy}")
