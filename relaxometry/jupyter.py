"""How objects show themselves in Jupyter."""

from __future__ import annotations

from html import escape


class Shown:
    """Gives a class whose repr says what a person would ask first the same in Jupyter, escaped."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap">{escape(repr(self))}</pre>'
