"""What several test modules share: the place of the real scans."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scans, which are not part of the repository."""
    folder = Path(os.environ.get("RELAXOMETRY_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "system_phantom" / "expected.json").is_file():
        pytest.skip(
            f"real scans not found in {folder.name!r}; set RELAXOMETRY_DATA to their folder"
        )
    return folder


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The simulated study that ships with the repository."""
    return REPOSITORY / "sample_data"
