"""What goes out with the code: one version everywhere, a README that is true, a licence."""

from __future__ import annotations

import doctest
import importlib.metadata
import importlib.util
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import relaxometry
from relaxometry.cli import run

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def readme() -> Callable[[str], str]:
    """The README's marked blocks by name, as the continuous integration extracts them."""
    script = REPOSITORY / ".ci" / "readme_commands.py"
    spec = importlib.util.spec_from_file_location("readme_commands", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda name: module.marked(read("README.md"), name)


def test_one_version_everywhere() -> None:
    assert relaxometry.__version__ == PROJECT["version"]
    assert f"\nversion: {PROJECT['version']}\n" in read("CITATION.cff")
    assert PROJECT["version"] in read("CHANGELOG.md")


def test_the_version_that_is_installed_is_this_one() -> None:
    try:
        installed = importlib.metadata.version("relaxometry")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("run from a checkout that is not installed")
    assert installed == relaxometry.__version__


def test_one_licence_everywhere() -> None:
    assert PROJECT["license"] == "BSD-3-Clause"
    assert "license: BSD-3-Clause" in read("CITATION.cff")
    text = read("LICENSE")
    assert text.startswith("BSD 3-Clause License\n\nCopyright (c) 2026, The relaxometry developers")
    assert all(part in text for part in ("\n1. Redis", "\n2. Redis", "\n3. Neither"))


def test_types_go_out_with_the_package() -> None:
    assert (Path(relaxometry.__file__).parent / "py.typed").is_file()


def test_readme_python_says_what_it_says(
    readme: Callable[[str], str],
    sample_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(sample_data, tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(readme("python"), {}, "README", "README.md", 0)
    assert len(example.examples) > 10
    told: list[str] = []
    failed = doctest.DocTestRunner(verbose=False).run(example, out=told.append).failed
    assert failed == 0, "".join(told)
    assert (tmp_path / "relaxivity.pdf").stat().st_size > 0
    assert list((tmp_path / "maps_T2").rglob("*_T2map.nii.gz"))


def test_readme_shows_the_sample_study(readme: Callable[[str], str], sample_data: Path) -> None:
    for name in ("study.toml", "tubes.csv"):
        assert readme(name) == (sample_data / name).read_text(encoding="utf-8"), name


def test_readme_output_is_what_the_command_line_says(
    readme: Callable[[str], str],
    sample_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    assert run(["report", str(sample_data / "study.toml"), "-o", str(tmp_path / "report")]) == 0
    told = capsys.readouterr().out.splitlines()
    shown = readme("said").splitlines()
    assert [line for line in shown if line not in told] == []


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", read("README.md"))
    assert len(links) > 4
    assert [link for link in links if not (REPOSITORY / link).is_file()] == []
