"""The walls of the house: imports point down, and each heavy package has one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import relaxometry

PACKAGE = Path(relaxometry.__file__).parent
MODULES = sorted(PACKAGE.glob("*.py"))

#: Lowest first. A module may import from the floors below its own, never from its own or above.
FLOORS = (
    "errors jupyter mapped scratch codestream recall labelling voxelcorrelation",
    "units multiplicity records geometry noise whole polarity standins scene order template edges "
    "flags diagnosis straight linemethod matching",
    "carry silhouette robust concentration cells csvtable scanner truthfiles background aircheck "
    "objectnoise weighted optimum displacements",
    "walls columns tomltable noiselevel imageuniformity registration",
    "amounts ghosts contrastsettings",
    "estimate sheet settings rims elsewhere",
    "circles numerals contrastformulas snrmaps scaling",
    "stack",
    "series regression rates usable literature",
    "points groups replicates stated models images reference bias moved ratio",
    "alignment agentrow comparison",
    "tubes switching linereport",
    "finding",
    "maps plan archive mapimage sidecar",
    "tables simulate scans",
    "peaks cramer_rao animals",
    "projection judgement animalscans",
    "kernels",
    "loops room",
    "lanes",
    "uniform",
    "compiled",
    "solve dicomheader",
    "crosscheck problem agents visupars",
    "curvefit clipping multiframe dicomparts tablereport quoted",
    "fit selection ranking plannedagent",
    "regionrate",
    "regionchange signalonly coursepeak coursetable",
    "animalcourse",
    "concentrationmap",
    "ratechange",
    "tubetable dicom dicomwriter nifti bruker imagej canvas contrastmodel",
    "timecourse",
    "b1 parametric placing remarks pictures agreement classregions regions detectable bestsettings",
    "contrast planning",
    "cohort contrastmeasure",
    "curveplots lineplots barplots relaxivitymap contrastplots regionpictures contrasttables "
    "planplots plantext changepictures courseplots",
    "plots",
    "bids folder mapfiles",
    "changefiles ratestudy uniformitystudy",
    "studycourses",
    "contraststudy animalstudy inspection relaxivityrecords planfiles",
    "study contrastrecords contrastpage",
    "sample tablestudy contrastmethods",
    "results methods",
    "pagetables paper",
    "pdfcontrast",
    "page pdfpage tubefiles",
    "reports",
    "arguments answer options",
    "plancommand",
    "cli",
    "__init__ __main__",
)
FLOOR = {module: floor for floor, names in enumerate(FLOORS) for module in names.split()}

#: `r.plot()` is how a person at a notebook asks for a figure, and `r.report()` for a text. A noun
#: may go up for that, at the moment it is asked and never when it is imported.
ASKED = {
    "plots": {"plot"},
    "planplots": {"plot"},
    "plantext": {"report"},
    "linereport": {"report", "methods", "to_dataframe"},
    "tablereport": {"report", "methods"},
}

#: A heavy package, and the only modules that may import it when the program runs.
DOORS = {
    "pydicom": {"dicom", "dicomparts", "dicomwriter", "parametric"},
    "highdicom": {"parametric"},
    "nibabel": {"nifti"},
    "brukerapi": {"bruker"},
    "roifile": {"imagej"},
    "lmfit": {"crosscheck"},
    "matplotlib": {
        "agreement",
        "barplots",
        "canvas",
        "changepictures",
        "contrastplots",
        "courseplots",
        "curveplots",
        "lineplots",
        "pictures",
        "regionpictures",
        "planplots",
        "relaxivitymap",
    },
    "cmcrameri": {"pictures"},
    "jinja2": {"page"},
    "reportlab": {"paper"},
    "typer": {"cli", "options", "plancommand"},
    "numba": {"kernels"},
    "odrpack": {"straight"},
    "SimpleITK": {"registration"},
}

HEAVY = (
    "numba",
    "lmfit",
    "pandas",
    "matplotlib",
    "pydicom",
    "highdicom",
    "nibabel",
    "brukerapi",
    "roifile",
    "odrpack",
    "reportlab",
    "SimpleITK",
    "scipy",
)

by_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(node: ast.AST, checking: bool = False, inside: str = "") -> Iterator[tuple]:
    """(package, module or None, only for type checkers, innermost function) of every import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((a.name.split(".")[0], None, checking, inside) for a in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level:
            names = [child.module] if child.module else [a.name for a in child.names]
            yield from (("relaxometry", name.split(".")[0], checking, inside) for name in names)
        elif isinstance(child, ast.ImportFrom):
            yield str(child.module).split(".")[0], None, checking, inside
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from imports(ast.Module([part], []), True, inside)
            for part in child.orelse:
                yield from imports(ast.Module([part], []), checking, inside)
        elif isinstance(child, ast.FunctionDef):
            yield from imports(child, checking, child.name)
        else:
            yield from imports(child, checking, inside)


def test_every_module_has_its_floor() -> None:
    assert [path.stem for path in MODULES if path.stem not in FLOOR] == []
    assert len(FLOOR) == sum(len(names.split()) for names in FLOORS), "a module on two floors"


@by_module
def test_imports_point_down(path: Path) -> None:
    wrong = []
    for package, module, _, inside in imports(tree(path)):
        if package != "relaxometry":
            continue
        assert module is not None, "modules of the package are imported as `from .module import`"
        # The package's own number lives in __init__, which is always there before its modules.
        if module == "__version__" or inside in ASKED.get(module, ()):
            continue
        if FLOOR[module] >= FLOOR[path.stem]:
            wrong.append(module)
    assert wrong == [], f"{path.stem} must not import {', '.join(wrong)}"


@by_module
def test_heavy_packages_come_in_by_their_one_door(path: Path) -> None:
    wrong = {
        package
        for package, _, checking, _ in imports(tree(path))
        if not checking and package in DOORS and path.stem not in DOORS[package]
    }
    assert wrong == set()


@by_module
def test_modules_are_short_and_have_a_subject(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450, "is asking to be two modules"
    drawers = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
    assert not drawers & set(path.stem.split("_")), "a drawer for oddments"
    assert ast.get_docstring(tree(path))


@by_module
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    if path.stem == "cli":
        return
    calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
    assert not calls & {"print", "exit", "quit", "sys.exit", "os._exit", "sys.stdout.write"}


@by_module
def test_no_exception_is_swallowed(path: Path) -> None:
    """Broad excepts: none but the command line's last line of defence."""
    broad = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]
    assert len(broad) == (1 if path.stem == "cli" else 0), broad


def test_every_public_name_is_there() -> None:
    for name in relaxometry.__all__:
        assert getattr(relaxometry, name) is not None
    assert set(relaxometry.__all__) <= set(dir(relaxometry))
    assert len(set(relaxometry.__all__)) == len(relaxometry.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="fit_mpas"):
        relaxometry.fit_mpas  # noqa: B018


@pytest.mark.parametrize(
    "program", ["import relaxometry", "from relaxometry.cli import run; run(['--help'])"]
)
def test_starting_is_quick_because_nothing_heavy_is_imported(program: str) -> None:
    ask = f"{program}\nimport sys\nsys.exit(repr([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
