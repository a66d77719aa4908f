"""Maps that are already made: our own, another program's, or the scanner's own fit."""

from __future__ import annotations

from pathlib import Path

from .dicomheader import starts_as_dicom
from .errors import InputError
from .images import LeftOut, stack_voxels, stacked
from .mapimage import MAPPED, MapImage
from .sidecar import Name, Sidecar
from .units import QUANTITIES, RATE_OF

_OF_SUFFIX = {QUANTITIES[symbol].bids: symbol for symbol in MAPPED}
# BIDS derivatives of the same suffix that show something else: see `write_maps`.
_ABOUT_THE_FIT = ("stderr", "rmse", "rsquared", "status")


def read_map(path: str | Path, quantity: str | None = None) -> MapImage:
    """Read a map of relaxation times or rates, to compare with or to go on from.

    Parameters
    ----------
    path : str or Path
        A NIfTI file: one of :func:`write_maps`, or any other with a BIDS name (``…_T2map.nii.gz``)
        or a `quantity`; its sidecar may state ``Units`` (s, ms, 1/s), which are s or 1/s otherwise.
        Or a DICOM Parametric Map; or Bruker's own fit (``2dseq``). Or a folder that holds one map
        of BIDS, or one such fit.
    quantity : {"T1", "T2", "T2star", "R1", "R2", "R2star"}, optional
        What the map shows, where its name does not say so or there are several.

    Returns
    -------
    MapImage
        In s or 1/s; NaN where nothing was fitted (0 or NaN in the file).

    Raises
    ------
    InputError
        If there is no map or more than one, if nobody can say what it shows, or if its values
        cannot be in the unit stated.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("there is no such file or folder", path=path)
    if quantity is not None and quantity not in MAPPED:
        raise InputError(
            f"no map of {quantity!r}", path=path, field="quantity", expected=", ".join(MAPPED)
        )
    if path.is_dir() and (maps := _in_folder(path, quantity)):
        if len(maps) > 1:
            listed = ", ".join(map(str, sorted(m.relative_to(path).as_posix() for m in maps)))
            raise InputError(
                f"{len(maps)} maps: {listed}",
                path=path,
                expected="one",
                hint="give the file itself",
            )
        path = maps[0]
    if path.name.lower().endswith((".nii", ".nii.gz")) and not path.is_dir():
        return _nifti(path, quantity)
    if path.is_dir() or path.name == "2dseq":
        return _bruker(path, quantity)
    if starts_as_dicom(path):
        return _parametric(path, quantity)
    raise InputError(
        "not a map that can be read",
        path=path,
        expected="NIfTI (.nii, .nii.gz), a DICOM Parametric Map, or a Bruker fit (2dseq)",
        hint="convert it to NIfTI",
    )


def _in_folder(folder: Path, quantity: str | None) -> list[Path]:
    """NIfTI files below a folder that BIDS calls maps of a relaxation time or rate."""
    found = []
    for file in folder.rglob("*.nii*"):
        name = Name.of(file)
        symbol = _OF_SUFFIX.get(name.suffix)
        itself = name.entities.get("desc") not in _ABOUT_THE_FIT
        if symbol and itself and quantity in (None, symbol):
            found.append(file)
    return found


def _nifti(path: Path, quantity: str | None) -> MapImage:
    from . import nifti

    name = Name.of(path)
    named = _OF_SUFFIX.get(name.suffix)
    about = name.entities.get("desc")
    if about in _ABOUT_THE_FIT:
        raise InputError(f"desc-{about}: not a map of {named} itself", path=path)
    if quantity is None and named is None:
        raise InputError(
            "its name does not say what it shows",
            path=path,
            expected=f"a BIDS name, {', '.join(_OF_SUFFIX)}",
            hint='say it by hand, e.g. quantity="T2"',
        )
    if None not in (quantity, named) and quantity != named:
        raise InputError(
            f"called {name.suffix}, but {quantity} is asked for", path=path, field="quantity"
        )
    sidecar = Sidecar.of(path)
    volume, affine = nifti.read_volume(path)
    found = str(quantity or named)
    unit = sidecar.text("Units").strip()
    return MapImage.of(found, volume, unit, affine, source="NIfTI", file=path)


def _parametric(path: Path, quantity: str | None) -> MapImage:
    """A DICOM Parametric Map; what is none is refused by its reader."""
    from . import parametric

    found, value, affine = parametric.read(path)
    if quantity not in (None, found):
        raise InputError(f"a map of {found}, but {quantity} is asked for", path=path)
    return MapImage.of(found, value, "", affine, source="DICOM Parametric Map", file=path)


def _bruker(path: Path, quantity: str | None) -> MapImage:
    """The scanner's own fit of a time; of a rate, nothing: it is derived."""
    from . import bruker

    files = sorted(path.rglob("2dseq")) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            fits = bruker.fits(file)
        except LeftOut:  # spectra in the same study
            continue
        found += [(s, *fit) for s, fit in fits.items() if quantity in (None, s)]
    found.sort(key=lambda fit: fit[1][0].order)
    if len(found) != 1:
        below = path if path.is_dir() else path.parent
        listed = ", ".join(
            f"{symbol} in {Path(images[0].file).relative_to(below).as_posix()}"
            for symbol, images, _ in found
        )
        raise InputError(
            f"{len(found)} maps of {quantity or 'relaxation times'}"
            + (f": {listed}" if listed else ""),
            path=path,
            expected="one that ParaVision fitted, or a NIfTI file",
            hint=f"give its 2dseq, or quantity = one of {', '.join(RATE_OF)}" if listed else None,
        )
    symbol, images, unit = found[0]
    source = Path(images[0].file)
    level, affine = stacked(images, source)
    if len(set(level)) < len(images):
        raise InputError(f"{len(images)} images of {len(set(level))} slices", path=source)
    if not unit:
        raise InputError(
            "missing", path=source, field="VisuCoreDataUnits", expected="the unit of the map"
        )
    voxels = stack_voxels([images[level.index(z)] for z in range(len(level))])
    return MapImage.of(
        symbol,
        voxels,
        unit,
        affine,
        source=f"vendor's fit, {images[0].encoding}",
        file=source,
        field="VisuCoreDataUnits",
    )
