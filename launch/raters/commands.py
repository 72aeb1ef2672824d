"""`sandwich raters`: what concerns those who judge. Each command has a file of its own beside this one."""

from __future__ import annotations

import typer

from sandwiching.launch.raters.curve import curve_command
from sandwiching.launch.raters.fit import fit_command
from sandwiching.launch.raters.report import report_command
from sandwiching.launch.raters.serve import page_app

raters_app = typer.Typer(no_args_is_help=True, help="Raters: whether their judgements carry a signal, and whose do.")
raters_app.command("report")(report_command)
raters_app.command("fit")(fit_command)
raters_app.add_typer(page_app)
raters_app.command("curve")(curve_command)
