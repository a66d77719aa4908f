"""Compressed pixels are those that were compressed, whoever packed them."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import pytest

import relaxometry as rx
from relaxometry.dicomwriter import write_series

SYNTAXES = {
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS lossless": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000 lossless": gdcm.TransferSyntax.JPEG2000Lossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
    "explicit big endian": gdcm.TransferSyntax.ExplicitVRBigEndian,
    "implicit little endian": gdcm.TransferSyntax.ImplicitVRLittleEndian,
}


def changed(file: Path, syntax: int) -> None:
    """Written again in another transfer syntax, by another library."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(file))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    # Its writer of images would sort the frames of an enhanced file, but not their groups.
    content = reader.GetFile()
    content.GetDataSet().Replace(change.GetOutput().GetDataElement())
    content.GetHeader().SetDataSetTransferSyntax(gdcm.TransferSyntax(syntax))
    writer = gdcm.Writer()
    writer.SetFileName(str(file))
    writer.SetFile(content)
    assert writer.Write()


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("encoding", SYNTAXES)
def test_every_encoding_keeps_every_bit(encoding: str, enhanced: bool, tmp_path: Path) -> None:
    signal = np.rint(np.random.default_rng(0).uniform(0, 4095, (17, 12, 2, 4)))
    series = rx.Series(signal, rx.Protocol(TE=[0.01, 0.02, 0.04, 0.08], TR=3.0), signed=False)
    files = write_series(
        series, tmp_path, description="T2", series_number=1, uid_seed="a", enhanced=enhanced
    )
    for file in files:
        changed(file, SYNTAXES[encoding])
    back = rx.read(tmp_path)
    np.testing.assert_array_equal(back.signal, series.signal)
    np.testing.assert_allclose(back.protocol.TE, series.protocol.TE)
    (row,) = rx.inspect(tmp_path).rows
    assert row.encoding == f"{'enhanced' if enhanced else 'classic'} DICOM, {encoding}"
