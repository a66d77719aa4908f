"""The errors a user can meet: what was found, where, what was expected, how to mend it."""

from __future__ import annotations

from pathlib import Path


class RelaxometryError(ValueError):
    """Base of every error this package raises on purpose."""


class InputError(RelaxometryError):
    """Something the user gave cannot be used as it is.

    Parameters
    ----------
    found : str
        What is there, in words a chemist understands.
    path : str or Path, optional
        File or folder it was found in.
    field : str, optional
        Tag, key, column or argument at fault.
    expected : str, optional
        What should have been there.
    hint : str, optional
        How to mend it.

    Notes
    -----
    The message is one line: ``path: field: found; expected …; hint``.
    """

    def __init__(
        self,
        found: str,
        *,
        path: str | Path | None = None,
        field: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.found, self.path, self.field = found, None if path is None else str(path), field
        self.expected, self.hint = expected, hint
        place = ": ".join(part for part in (self.path, field) if part)
        text = f"{place}: {found}" if place else found
        if expected:
            text += f"; expected {expected}"
        if hint:
            text += f"; {hint}"
        super().__init__(" ".join(text.split()))

    def at(self, path: str | Path) -> InputError:
        """The same error with its file named, for a caller that knows it."""
        return type(self)(
            self.found, path=path, field=self.field, expected=self.expected, hint=self.hint
        )


class ProtocolError(InputError):
    """Acquisition times or angles that cannot be right, or do not fit the model."""


class GeometryError(InputError):
    """Images, masks or labels that do not lie on the grid they should."""


class FitError(InputError):
    """A fit that was asked for cannot be done with these data."""
