"""The verb `plan` of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from . import options as opt


def plan_verb(say: Callable[[str], None]) -> Callable[..., None]:
    """The verb; `say` tells the user, or does not where that is not wanted."""

    def plan(
        file: Annotated[
            Path, typer.Argument(metavar="PLAN.toml", help="Agent, tissues, image, noise.")
        ],
        output: opt.Output,
        force: opt.Force = False,
    ) -> None:
        """Plan an image: SNR, CNR and the best TE and TR.

        A simulated T1- or T2-weighted image. Keys and examples: docs/planning.md.
        """
        from .planfiles import MARKER, read_plan, write_plan
        from .whole import check_free

        check_free(output, MARKER, force)
        made = read_plan(file)
        write_plan(made, output, force)
        say(repr(made))
        for note in made.notes:
            say(f"note: {note}")
        say(f"Plan: {output / 'plan.txt'}")

    return plan
