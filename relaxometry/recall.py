"""Answers about files and folders, kept for as long as those do not change."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

_MOST = 1 << 16
_SETTLED = 2.0  # s: a file may change once more within one tick of the file system's clock


class Recall(Generic[Answer]):
    """A question about paths that is asked again only where one has changed since.

    Parameters
    ----------
    ask : callable
        From a path to its answer. What it raises is not kept.
    """

    def __init__(self, ask: Callable[[Path], Answer]) -> None:
        self._ask = ask
        self._known: dict[tuple[object, ...], tuple[Answer]] = {}

    def __call__(self, path: Path) -> Answer:
        facts = path.stat()  # before it is asked: a change meanwhile makes another key
        mark = (
            *(str(path), facts.st_dev, facts.st_ino, facts.st_size),
            *(facts.st_mtime_ns, facts.st_ctime_ns),
        )
        known = self._known.get(mark)  # once: another thread may forget it meanwhile
        if known is not None:
            return known[0]
        answer = self._ask(path)
        if time.time() - max(facts.st_mtime, facts.st_ctime) >= _SETTLED:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[mark] = (answer,)
        return answer
