"""What several test modules share: the place of the real scans."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

#: Modules that share what takes long to make: one worker runs all tests of a group.
TOGETHER = {
    "test_cli": "command",  # a study and its report
    "test_contraststudy": "mice",  # a study of five
    "test_engines": "compiled",  # loops, to be compiled once
    "test_fit": "compiled",
    "test_pdfpage": "paper",
    "test_plots": "plots",  # a study of full size
    "test_privacy": "privacy",
    "test_reference": "reference",
    "test_reports": "reports",
    "test_study": "study",
    "test_tubes_command": "tubes",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests belong together; ``--dist loadgroup`` begins with the largest groups."""
    for item in items:
        module = item.path.stem
        group = TOGETHER.get(module)
        if "TestStudy" in item.nodeid and module == "test_judgement":
            group = "judgement"  # a report
        if group:
            item.add_marker(pytest.mark.xdist_group(group))


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
