"""NIfTI files: pictures with the settings of their sidecars, label maps, volumes written whole."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from .errors import GeometryError, InputError
from .geometry import Affine, checked_affine
from .images import Image, vendor_of
from .recall import Recall
from .sidecar import Name, Sidecar
from .standins import check_fetched

_UNIT_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}
_CHUNK = 1 << 20  # bytes
Content = bytes | Callable[[BinaryIO], None]
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error)


def images(path: str | Path) -> list[Image]:
    """The volumes of a NIfTI file, each with its settings, before any voxel is read.

    Parameters
    ----------
    path : str or Path
        A ``.nii`` or ``.nii.gz`` file. Its settings come from the JSON file of the same stem and,
        in a BIDS data set, from those it inherits (the deepest and most specific file wins).

    Returns
    -------
    list of Image
        One per volume, in the file's order; none for a map, mask or label map of BIDS. A setting
        that is stated but unusable is kept in ``Image.faults``; one that dcm2niix lost is missing,
        and ``Image.origin`` says why.

    Raises
    ------
    InputError
        If the header does not fit the file or has no usable geometry, or a sidecar is not strict
        JSON or has an unusable field strength.
    """
    path = Path(path)
    if Name.of(path).is_result:
        return []
    file, sidecar = _opened(path), Sidecar.of(path)
    n = file.voxels.shape[3]
    settings, origin, faults = sidecar.settings(n)
    component, reason = sidecar.component
    if component:
        origin["signed"] = reason
    return [
        Image(
            file=str(path),
            settings={symbol: values[i] for symbol, values in settings.items()},
            shape=file.voxels.shape[:3],
            affine=file.affine,
            load=partial(_volume, file, i),
            origin=origin,
            component=component,
            sequence=sidecar.sequence,
            field_T=sidecar.field_T,
            vendor=vendor_of(sidecar.text("Manufacturer")),
            source="NIfTI",
            acquisition=str(path.with_name(sidecar.name.acquisition)),
            name=sidecar.text("SeriesDescription", "ProtocolName"),
            order=(*sidecar.order, float(i)),
            problem=sidecar.problem,
            faults=faults,
            sidecars=tuple(str(file) for file in sidecar.files),
            whole=partial(_mapped, file) if file.is_signal else None,
            number=i,
            encoding=file.encoding,
        )
        for i in range(n)
    ]


def read_volume(path: str | Path) -> tuple[NDArray[np.float64], Affine]:
    """One volume (x, y, z), scaled as its header says, and its affine (voxel → mm, RAS).

    Raises
    ------
    InputError
        If the file cannot be used (see :func:`images`) or holds more than one volume.
    """
    file = _opened(Path(path))
    n = file.voxels.shape[3]
    if n != 1:
        raise InputError(f"{n} volumes", path=path, expected="a single volume")
    return _scaled(file, 0).astype(np.float64), file.affine


def read_labels(path: str | Path) -> tuple[NDArray[np.int32], Affine]:
    """A label map (x, y, z) of whole numbers, and its affine (voxel → mm, RAS).

    Raises
    ------
    InputError
        If the file cannot be used (see :func:`read_volume`) or a label is not a whole number.
    """
    volume, affine = read_volume(path)
    labels = np.empty(volume.shape, dtype=np.int32, order="F")
    for z in range(volume.shape[2]):  # plane by plane: the checks need a few times what they check
        plane = volume[:, :, z]
        whole = np.isfinite(plane) & (plane == np.rint(plane)) & (abs(plane) < 2**31)
        if not whole.all():
            raise InputError(
                f"a label of {plane[~whole][0]:g}",
                path=path,
                expected="whole numbers in a label map",
            )
        labels[:, :, z] = plane
    return labels, affine


def write_volume(path: str | Path, array: NDArray[Any], affine: Affine) -> None:
    """Write (x, y, z) or (x, y, z, n) as ``.nii`` or ``.nii.gz``, the same bytes every time.

    Integers of up to 32 bits keep their type; truth becomes uint8 and real numbers float32.

    Raises
    ------
    InputError, GeometryError
        If the name, the array or the affine cannot be those of a NIfTI file. Nothing is written.
    """
    path, array = Path(path), np.asarray(array)
    stored = stored_type(array.dtype)
    write_together({path: volume(array.shape, stored, affine, [array], _is_compressed(path))})


def stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which :func:`write_volume` stores an array of this one; see there."""
    if dtype.kind in "bf":
        return np.dtype(np.uint8 if dtype.kind == "b" else np.float32)
    if dtype.kind not in "iu" or dtype.itemsize > 4:
        raise InputError(f"array of {dtype}", expected="real numbers or integers of up to 32 bits")
    return dtype.newbyteorder("=")


def volume(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    affine: Affine,
    slabs: Iterable[NDArray[Any]],
    compressed: bool = True,
) -> Callable[[BinaryIO], None]:
    """What writes a volume to an open file, for :func:`write_together`.

    Parameters
    ----------
    shape : tuple of int
        (x, y, z) or (x, y, z, n).
    dtype : dtype
        As stored (:func:`stored_type`).
    affine : ndarray (4, 4)
    slabs : iterable of ndarray
        The volume cut across its last axis, in order. Each is asked for when the one before is
        written, so that a map need never be there as a whole.
    compressed : bool

    Raises
    ------
    InputError, GeometryError
        At once, as :func:`write_volume`.
    """
    start = _first_bytes(shape, dtype, checked_affine(affine))

    def data() -> Iterator[bytes]:
        yield start
        for slab in slabs:
            for k in range(slab.shape[-1]):
                yield slab[..., k].astype(dtype, copy=False).tobytes(order="F")

    return lambda file: file.writelines(_packed(data()) if compressed else data())


def _packed(parts: Iterable[bytes]) -> Iterator[bytes]:
    """As gzip.compress(…, mtime=0) packs them, which would need them all at once."""
    packer = zlib.compressobj(9, wbits=31)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()


def _first_bytes(shape: tuple[int, ...], dtype: np.dtype[Any], affine: Affine) -> bytes:
    """All that stands before the voxels: nibabel's header of a single voxel, enlarged."""
    if len(shape) not in (3, 4) or 0 in shape:
        raise GeometryError(f"array of shape {shape}", expected="(x, y, z) or (x, y, z, n)")
    image = nib.Nifti1Image(np.zeros((1,) * len(shape), dtype=dtype), affine)
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header.set_xyzt_units("mm", "sec")
    data: bytes = image.to_bytes()
    size = nib.Nifti1Header.sizeof_hdr
    header = nib.Nifti1Header(data[:size])
    header.set_data_shape(shape)
    return bytes(header.binaryblock) + data[size : -dtype.itemsize]


def write_together(contents: Mapping[Path, Content]) -> list[Path]:
    """Write files so that each appears whole, and none before all of them are on the disk.

    Parameters
    ----------
    contents : mapping of Path to bytes or callable
        What stands in each file, or what writes it, one file after the other. Whatever stops this,
        Ctrl-C included, leaves no part of a file and no folder made for it.

    Raises
    ------
    InputError
        If one of them cannot be written.
    """
    parts = {path: path.with_name(f".{path.name}.part") for path in contents}
    made: list[Path] = []
    done = False
    try:
        for path, content in contents.items():
            _make(path.parent, made)
            with parts[path].open("wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content)
        for path, part in parts.items():
            part.replace(path)
        done = True
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from error
    finally:
        for part in parts.values():
            if part.is_file():
                part.unlink()
        for folder in () if done else reversed(made):
            if not any(folder.iterdir()):
                folder.rmdir()
    return list(contents)


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, and note which."""
    if not folder.exists():
        _make(folder.parent, made)
        folder.mkdir(exist_ok=True)
        made.append(folder)


# --- the file ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """A file whose header has been checked: its voxels (x, y, z, n), not yet read, and affine."""

    path: Path
    voxels: ArrayProxy
    affine: Affine
    encoding: str  # for people, e.g. "NIfTI-1, gzip"

    @property
    def is_signal(self) -> bool:
        """Whether the voxels lie in the file as a `Series` needs them, and can be mapped."""
        voxels = self.voxels
        plain = (voxels.slope, voxels.inter) == (1.0, 0.0) and voxels.dtype == np.float32
        return bool(plain and voxels.offset % 4 == 0 and not _is_compressed(self.path))


def _opened(path: Path) -> _File:
    compressed = _is_compressed(path)
    check_fetched(path)
    if not path.is_file():
        raise InputError("no such file", path=path)
    header = _header(path, compressed)
    shape, offset, dtype = _shape(header, path), _offset(header, path), _dtype(header, path)
    if offset + math.prod(shape) * dtype.itemsize > (
        _unpacked_size(path) if compressed else path.stat().st_size
    ):
        raise InputError(
            f"the header speaks of {'×'.join(map(str, shape))} voxels, the file is too short",
            path=path,
            hint="the file is truncated or not NIfTI; copy or convert it again",
        )
    slope, inter = _scaling(header, path)
    # Without an open handle every volume of a gzip file would be unpacked from its beginning.
    keep_open = compressed and shape[3] > 1
    voxels = ArrayProxy(
        path, (shape, dtype, offset, slope, inter), mmap=False, keep_file_open=keep_open
    )
    return _File(path, voxels, _affine(header, path), _encoding(header, compressed))


def _is_compressed(path: Path) -> bool:
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise InputError("not a NIfTI file name", path=path, expected=".nii or .nii.gz")
    return name.endswith(".gz")


def _unpack(path: Path) -> int:
    """Bytes in a gzip file, unpacked; unpacking all of it once also tests its checksum."""
    try:
        with gzip.open(path) as stream:
            return sum(len(chunk) for chunk in iter(partial(stream.read, _CHUNK), b""))
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


# Who inspects a folder reads it next.
_unpacked_size = Recall(_unpack)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"cannot be read: {error}",
        path=path,
        hint="the file is truncated or damaged; copy or convert it again",
    )


def _header(path: Path, compressed: bool) -> Any:
    """The header as it stands in the file: nibabel's own checks would quietly mend it."""
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            start = stream.read(nib.Nifti2Header.sizeof_hdr)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    kinds: list[tuple[Any, bytes]] = [(nib.Nifti1Header, b"n+1"), (nib.Nifti2Header, b"n+2")]
    for kind, magic in kinds:
        if kind.may_contain_header(start):
            header = kind(start[: kind.sizeof_hdr], check=False)
            if header["magic"].item() == magic:
                return header
    raise InputError("not a single-file NIfTI image", path=path, expected=".nii or .nii.gz")


def _encoding(header: Any, compressed: bool) -> str:
    facts = [f"NIfTI-{1 if header.sizeof_hdr == nib.Nifti1Header.sizeof_hdr else 2}"]
    facts += ["big-endian"] if header.endianness == ">" else []
    return ", ".join(facts + ["gzip"] * compressed)


def _shape(header: Any, path: Path) -> tuple[int, int, int, int]:
    ndim, sizes = int(header["dim"][0]), [int(size) for size in header["dim"][1:]]
    given = sizes[: max(ndim, 0)]
    if not 1 <= ndim <= 7 or min(given) < 1 or any(size != 1 for size in given[4:]):
        raise InputError(
            f"dimensions {given or ndim}",
            path=path,
            field="dim",
            expected="(x, y, z) or (x, y, z, n)",
        )
    x, y, z, n = [*given, 1, 1, 1][:4]
    pixdim = header["pixdim"][1 : 1 + min(ndim, 3)]
    if not (np.isfinite(pixdim) & (pixdim > 0)).all():
        raise InputError(
            f"voxel size {' × '.join(f'{size:g}' for size in pixdim)}",
            path=path,
            field="pixdim",
            expected="positive lengths",
        )
    return x, y, z, n


def _offset(header: Any, path: Path) -> int:
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < header.sizeof_hdr:
        raise InputError(f"voxels that begin at byte {offset:g}", path=path, field="vox_offset")
    return int(offset)


def _dtype(header: Any, path: Path) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except KeyError:
        dtype = np.dtype("V")
    if dtype.kind not in "iuf":
        raise InputError(
            f"data type {int(header['datatype'])}",
            path=path,
            field="datatype",
            expected="real numbers, one per voxel",
        )
    return dtype


def _scaling(header: Any, path: Path) -> tuple[float, float]:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not (math.isfinite(slope) and math.isfinite(inter)):
        raise InputError(f"scaling {slope:g}·stored + {inter:g}", path=path, field="scl_slope")
    return (slope, inter) if slope else (1.0, 0.0)  # a slope of 0 means "as stored"


def _affine(header: Any, path: Path) -> Affine:
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # as the standard says: not mirrored
    try:
        affine = np.array(header.get_best_affine(), dtype=np.float64)
        affine[:3] *= _UNIT_MM[header.get_xyzt_units()[0]]
        return checked_affine(affine)
    except GeometryError as error:
        raise error.at(path) from None
    except (HeaderDataError, ValueError, KeyError) as error:
        raise GeometryError(f"no usable affine ({error})", path=path) from error


def _scaled(file: _File, index: int) -> NDArray[Any]:
    """Voxels (x, y, z) of a volume, scaled once, by nibabel."""
    try:
        return np.asarray(file.voxels[..., index])
    except _UNREADABLE as error:
        raise _damaged(file.path, error) from error


def _volume(file: _File, index: int) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which a fit reports
        return _scaled(file, index).astype(np.float32, copy=False)


def _mapped(file: _File) -> NDArray[np.float32]:
    """All voxels (x, y, z, n) where they lie: nothing is read until they are looked at."""
    try:
        return np.memmap(
            file.path, np.float32, "r", file.voxels.offset, file.voxels.shape, order="F"
        )
    except _UNREADABLE as error:
        raise _damaged(file.path, error) from error
