"""DICOM files with known content, and how to spoil them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from relaxometry import dicomwriter
from relaxometry.series import Protocol, Series


def oblique() -> np.ndarray:
    """Voxels of 0.5 × 0.7 × 2 mm, turned by 30° about x and 20° about z, RAS."""
    a, b = np.deg2rad(30), np.deg2rad(20)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x * [0.5, 0.7, 2.0]
    affine[:3, 3] = [-31.25, 12.5, 40.0]
    return affine


def mese(slices: int = 3) -> Series:
    signal = np.random.default_rng(7).uniform(0, 5000, (6, 4, slices, 3)).astype(np.float32)
    protocol = Protocol(TE=[0.0127, 0.0254, 0.0381], TR=2.0)
    return Series(signal, protocol, oblique(), field_T=7.0, sequence="SE")


def write(series: Series, folder: Path, **how: Any) -> list[Path]:
    return dicomwriter.write_series(
        series, folder, **{"description": "scan", "series_number": 1, "uid_seed": "test"} | how
    )


def change(file: Path, **tags: Any) -> None:
    """Set tags of a file; a text stands as it is, however wrong, and None takes the tag away."""
    dataset = pydicom.dcmread(file)
    for keyword, value in tags.items():
        tag = Tag(keyword)
        if value is None:
            del dataset[tag]
        elif isinstance(value, str) and (VR := dictionary_VR(tag)) in ("DS", "IS"):
            text = value.encode() + b" " * (len(value) % 2)
            dataset[tag] = RawDataElement(tag, VR, len(text), text, 0, False, True)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(file, enforce_file_format=True)
