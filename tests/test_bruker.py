"""ParaVision studies read from their own files: known voxels, real scans, broken copies."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import relaxometry as rx
from relaxometry import bruker
from relaxometry.errors import InputError
from relaxometry.geometry import voxel_size
from relaxometry.images import LeftOut

from .paravision import AXIAL, SECRET, Word, frames, jcamp, write_fit, write_scan

SLICES = (2, "FG_SLICE", "", ["VisuCoreOrientation", "VisuCorePosition"])
ECHOES = (3, "FG_ECHO", "", ["VisuAcqEchoTime"])
TE_TR = {"VisuAcqEchoTime": [10.0, 20.0, 30.0], "VisuAcqRepetitionTime": [3000.0]}


def msme(study: Path, number: int = 9, stored: np.ndarray | None = None, **more) -> Path:
    """Two slices, three echoes: echo fastest."""
    settings = {**TE_TR, **more.pop("settings", {})}
    stored = frames(6) if stored is None else stored
    return write_scan(study, number, stored, [ECHOES, SLICES], settings, slices=2, **more)


def vtr(study: Path, number: int = 11, **more) -> Path:
    """Two slices, three TR: slice fastest, the longest TR first."""
    movie = (3, "FG_MOVIE", "vtr", ["VisuAcqRepetitionTime"])
    settings = {
        "VisuAcqEchoTime": [6.1],
        "VisuAcqRepetitionTime": [3000.0, 1500.0, 500.0],
        "VisuAcqSequenceName": "Bruker:RAREVTR",
        **more.pop("settings", {}),
    }
    return write_scan(study, number, frames(6), [SLICES, movie], settings, slices=2, **more)


class TestOrder:
    def test_echo_fastest(self, tmp_path):
        series = rx.read(msme(tmp_path))
        assert series.kind == "MESE"
        assert pytest.approx([0.01, 0.02, 0.03]) == series.protocol.TE
        assert pytest.approx([3.0, 3.0, 3.0]) == series.protocol.TR
        stored = frames(6)
        for echo in range(3):
            for z in range(2):
                assert (series.signal[:, :, z, echo] == stored[:, :, echo + 3 * z]).all()

    def test_slice_fastest_and_tr_descending(self, tmp_path):
        series = rx.read(vtr(tmp_path))
        assert series.kind == "VTR"
        assert pytest.approx([0.5, 1.5, 3.0]) == series.protocol.TR
        stored = frames(6)
        for k, turn in enumerate((2, 1, 0)):
            for z in range(2):
                assert (series.signal[:, :, z, k] == stored[:, :, z + 2 * turn]).all()

    def test_three_loops(self, tmp_path):
        """A loop that sweeps nothing is a repetition, and averages are never taken silently."""
        groups = [ECHOES, SLICES, (2, "FG_REPETITION", "", [])]
        path = write_scan(tmp_path, 1, frames(12), groups, TE_TR, slices=2)
        with pytest.raises(InputError, match=r"2 images of slice 1 .* averages are never"):
            rx.read(path)

    def test_one_value_per_frame(self, tmp_path):
        """Some methods write a value for every frame, whatever loop they name for it."""
        movie = (3, "FG_MOVIE", "", ["VisuAcqInversionTime"])
        settings = {
            "VisuAcqEchoTime": [5.0],
            "VisuAcqInversionTime": [10.0, 10.0, 200.0, 200.0, 900.0, 900.0],
        }
        path = write_scan(tmp_path, 1, frames(6), [SLICES, movie], settings, slices=2)
        assert pytest.approx([0.01, 0.2, 0.9]) == rx.read(path).protocol.TI

    def test_slices_are_sorted_by_place(self, tmp_path):
        """Positions tell, also where slices are stored from the top down."""
        settings = {"VisuCorePosition": [-2.0, -3.0, 2.0, -2.0, -3.0, 0.0]}
        series = rx.read(msme(tmp_path, settings=settings))
        assert (series.signal[:, :, 0, 0] == frames(6)[:, :, 3]).all()
        assert series.affine[2, 3] == 0.0
        # Bruker's order on disk is about the planes of volumes: a stack has positions.
        settings["VisuCoreDiskSliceOrder"] = Word("disk_reverse_slice_order")
        again = rx.read(msme(tmp_path / "again", settings=settings))
        assert (again.signal == series.signal).all()


class TestMethods:
    def test_mge(self, tmp_path):
        settings = {
            "VisuAcqSequenceName": "Bruker:MGE",
            "VisuAcqEchoSequenceType": Word("GradientEcho"),
            "VisuAcqFlipAngle": 30.0,
        }
        series = rx.read(msme(tmp_path, settings=settings))
        assert (series.kind, series.sequence) == ("MEGRE", "GE")
        assert pytest.approx([30, 30, 30]) == series.protocol.FA

    def test_one_scan_per_inversion_time(self, tmp_path):
        for number, ti in ((4, 800.0), (5, 50.0), (6, 200.0)):
            settings = {
                "VisuAcqEchoTime": [8.0],
                "VisuAcqRepetitionTime": [5000.0],
                "VisuAcqInversionTime": [ti],
                "VisuAcqSequenceName": "Bruker:RARE",
            }
            stored = frames(2, seed=number)
            write_scan(tmp_path, number, stored, [SLICES], settings, slices=2)
        series = rx.read(tmp_path)
        assert series.kind == "IRT1"
        assert pytest.approx([0.05, 0.2, 0.8]) == series.protocol.TI
        assert (series.signal[..., 0] == frames(2, seed=5)).all()
        assert len(rx.inspect(tmp_path).rows) == 1

    def test_one_scan_per_flip_angle(self, tmp_path):
        for number, angle in ((4, 15.0), (5, 5.0), (6, 30.0)):
            settings = {
                "VisuAcqEchoTime": [2.0],
                "VisuAcqRepetitionTime": [15.0],
                "VisuAcqFlipAngle": angle,
                "VisuAcqSequenceName": "Bruker:FLASH",
                "VisuAcqEchoSequenceType": Word("GradientEcho"),
            }
            write_scan(tmp_path, number, frames(1, seed=number), [], settings)
        series = rx.read(tmp_path)
        assert series.kind == "VFA"
        assert pytest.approx([5, 15, 30]) == series.protocol.FA
        assert (series.signal[:, :, 0, 1] == frames(1, seed=4)[..., 0]).all()

    def test_fair_keeps_the_tr_of_each_ti_in_acqp(self, tmp_path, monkeypatch):
        movie = (3, "FG_MOVIE", "Non-selective Inversion", ["VisuAcqInversionTime"])
        settings = {
            "VisuAcqEchoTime": [20.7],
            "VisuAcqInversionTime": [14.8, 300.0, 1000.0],
            "VisuAcqSequenceName": "Bruker:FAIR_RARE",
        }
        acqp = {"ACQ_repetition_time": [5583.0, 5868.0, 6568.0]}
        path = write_scan(tmp_path, 1, frames(6), [SLICES, movie], settings, slices=2, acqp=acqp)
        series = rx.read(path)
        assert pytest.approx([5.583, 5.868, 6.568]) == series.protocol.TR
        assert series.provenance.origin["TR"] == "ACQ_repetition_time (acqp)"
        assert str(path.parents[2] / "acqp") in series.provenance.files
        for folder, name in (
            (path.parent, "2dseq"),
            (path.parents[1], "1"),
            (path.parents[2], "pdata/1"),
            (path.parent, "../1"),
            (path.parents[3], "."),
        ):
            monkeypatch.chdir(folder)
            assert pytest.approx([5.583, 5.868, 6.568]) == rx.read(name).protocol.TR

    def test_real_and_imaginary_frames(self, tmp_path):
        groups = [(2, "FG_COMPLEX", "", []), ECHOES, SLICES]
        settings = {**TE_TR, "VisuCoreFrameType": [Word("COMPLEX_IMAGE")]}
        stored = frames(12) - 100
        path = write_scan(tmp_path, 1, stored, groups, settings, slices=2)
        series = rx.read(path)
        assert series.signed
        assert (series.signal[:, :, 0, 1] == stored[:, :, 2]).all()
        reasons = [row.problem for row in rx.inspect(path).rows]
        assert reasons == [None, "2dseq: an imaginary image"]

    @pytest.mark.parametrize(("word", "component"), [("PHASE_IMAGE", "P"), ("REAL_IMAGE", "R")])
    def test_component_of_frames(self, tmp_path, word, component):
        path = msme(tmp_path, settings={"VisuCoreFrameType": [Word(word)]})
        assert {image.component for image in bruker.images(path)} == {component}

    def test_without_a_frame_type_reco_tells(self, tmp_path):
        path = msme(tmp_path, without=["VisuCoreFrameType"])
        assert {image.component for image in bruker.images(path)} == {"M"}
        assert bruker.images(path)[0].origin["signed"] == "RECO_image_type MAGNITUDE_IMAGE"


class TestVoxels:
    def test_slope_and_offset_of_each_frame(self, tmp_path):
        slope, offset = np.arange(1, 7) / 8, np.arange(6) * 10.0
        series = rx.read(msme(tmp_path, slope=slope, offset=offset))
        expected = frames(6) * slope + offset
        assert (series.signal[:, :, 1, 2] == expected[:, :, 5]).all()

    @pytest.mark.parametrize("order", ["littleEndian", "bigEndian"])
    @pytest.mark.parametrize(
        "word", ["_8BIT_UNSGN_INT", "_16BIT_SGN_INT", "_32BIT_SGN_INT", "_32BIT_FLOAT"]
    )
    def test_words(self, tmp_path, word, order):
        series = rx.read(msme(tmp_path, word=word, order=order))
        assert (series.signal[:, :, 1, 0] == frames(6)[:, :, 3]).all()
        assert series.signal.dtype == np.float32

    @pytest.mark.parametrize("backwards", [False, True])
    def test_volumes(self, tmp_path, backwards):
        stored = frames(3, (4, 3, 5))
        order = "disk_reverse_slice_order" if backwards else "disk_normal_slice_order"
        settings = {**TE_TR, "VisuCoreDiskSliceOrder": Word(order)}
        path = write_scan(tmp_path, 1, stored, [ECHOES], settings)
        series = rx.read(path)
        assert series.grid == (4, 3, 5)
        assert (series.signal == (stored[:, :, ::-1] if backwards else stored)).all()
        assert series.affine[:3, :3] == pytest.approx(np.diag([-0.5, -0.25, 2.0]))
        assert series.affine[:3, 3] == pytest.approx([2, 3, 0])

    def test_headers_do_not_read_voxels(self, tmp_path, monkeypatch):
        path = msme(tmp_path)
        monkeypatch.setattr(np, "fromfile", lambda *_, **__: pytest.fail("voxels were read"))
        assert len(bruker.images(path)) == 6
        assert rx.inspect(tmp_path).rows[0].problem is None


class TestGeometry:
    def test_oblique_slices_with_gaps(self, tmp_path):
        angle = np.radians(25)
        x = np.array([np.cos(angle), np.sin(angle), 0])
        y = np.array([0, 0, -1.0])
        normal = np.cross(x, y)
        corner = np.array([1.0, 2.0, 3.0])
        settings = {
            "VisuCoreOrientation": [*x, *y, *normal] * 2,
            "VisuCorePosition": [*corner, *(corner + 3.5 * normal)],
        }
        series = rx.read(msme(tmp_path, step_mm=3.5, settings=settings))
        lps = np.column_stack([0.5 * x, 0.25 * y, 3.5 * normal, corner])
        expected = np.diag([-1.0, -1, 1]) @ lps
        assert series.affine[:3] == pytest.approx(expected)

    def test_packages_that_are_not_parallel_are_no_series(self, tmp_path):
        sagittal = (0, 1, 0, 0, 0, 1, 1, 0, 0)
        msme(tmp_path, settings={"VisuCoreOrientation": [*AXIAL, *sagittal]})
        rows = rx.inspect(tmp_path).rows
        assert all("not parallel" in row.problem for row in rows)
        with pytest.raises(InputError, match="slice packages that are not parallel"):
            rx.read(tmp_path)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"VisuCoreUnits": ["cm", "cm"]}, "VisuCoreUnits.*expected mm"),
            ({"VisuCoreOrientation": [1, 1, 0, 0, 1, 0, 0, 0, 1] * 2}, "perpendicular"),
            ({"VisuCoreExtent": [0.0, 1.0]}, "VisuCoreExtent: a voxel of 0 × "),
            ({"VisuCorePosition": [0.0, 0.0]}, "VisuCorePosition: 2 values"),
        ],
    )
    def test_what_cannot_be_placed(self, tmp_path, settings, words):
        with pytest.raises(InputError, match=words):
            bruker.images(msme(tmp_path, settings=settings))

    def test_field(self, tmp_path):
        (image, *_) = bruker.images(msme(tmp_path))
        assert image.field_T == pytest.approx(300.33 / 42.577)
        stated = msme(tmp_path / "b", settings={"VisuMagneticFieldStrength": 9.4})
        assert bruker.images(stated)[0].field_T == 9.4
        other = msme(tmp_path / "c", settings={"VisuAcqImagedNucleus": "19F"})
        assert bruker.images(other)[0].field_T is None


class TestVersions:
    def test_paravision_6(self, tmp_path):
        (image, *_) = bruker.images(msme(tmp_path))
        assert (image.encoding, image.vendor, image.source) == (
            "ParaVision 6.0.1",
            "Bruker",
            "Bruker",
        )

    def test_paravision_5_has_no_packages_and_names_in_latin_1(self, tmp_path):
        path = msme(
            tmp_path,
            settings={"VisuCreatorVersion": "5.1"},
            without=["VisuCoreSlicePacksSliceDist"],
            title="ParaVision 5.1",
        )
        file = path.with_name("visu_pars")
        file.write_bytes(file.read_bytes().replace(SECRET.encode(), b"M\xfcller"))
        series = rx.read(path)
        assert bruker.images(path)[0].encoding == "ParaVision 5.1"
        assert series.affine[2, 2] == pytest.approx(2.0)
        assert series.kind == "MESE"

    def test_paravision_360_writes_repeated_values_once(self, tmp_path):
        path = msme(
            tmp_path,
            settings={"VisuCreator": "ParaVision 360", "VisuCreatorVersion": "V3.3"},
            without=["VisuCoreDataSlope"],
        )
        file = path.with_name("visu_pars")
        text = file.read_text().replace(
            "##END=", "##$VisuCoreDataSlope=( 6 )\n@2*(0.5) @3*(0.5) 0.25\n##END="
        )
        file.write_text(text)
        assert bruker.images(path)[0].encoding == "ParaVision 360 3.3"
        series = rx.read(path)
        assert (series.signal[:, :, 1, 2] == frames(6)[:, :, 5] * 0.25).all()
        assert (series.signal[:, :, 1, 1] == frames(6)[:, :, 4] * 0.5).all()


class TestFolders:
    def test_a_study_a_scan_a_reconstruction_or_its_file(self, tmp_path):
        path = msme(tmp_path)
        whole = rx.read(path)
        for place in (path.parent, path.parent.parent, path.parents[2], tmp_path):
            assert (rx.read(place).signal == whole.signal).all()

    def test_from_within_the_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(msme(tmp_path).parent)
        assert rx.read("2dseq").kind == rx.read(".").kind == "MESE"
        assert rx.inspect(".").ignored == {}

    def test_other_files_of_a_scan_are_passed_over(self, tmp_path):
        msme(tmp_path)
        vtr(tmp_path)
        (tmp_path / "9" / "fid").write_bytes(b"")
        (tmp_path / "9" / "AdjResult").mkdir()
        (tmp_path / "9" / "AdjResult" / "shim").write_text("text")
        inspection = rx.inspect(tmp_path)
        assert inspection.ignored == {}
        assert [row.kind for row in inspection.rows] == ["MESE", "VTR"]
        assert [s.kind for s in rx.read_all(tmp_path)] == ["MESE", "VTR"]

    def test_images_in_another_format_are_not_passed_over(self, tmp_path, sample_data):
        path = msme(tmp_path)
        (path.parent / "notes.dcm").write_text("text")
        assert list(rx.inspect(tmp_path).ignored) == ["9/pdata/1/notes.dcm"]

    def test_a_file_called_subject_makes_no_study(self, tmp_path):
        """An image that failed to copy must be told, not passed over."""
        (tmp_path / "subject").write_text("text")
        (tmp_path / "IM_0001").write_bytes(b"")
        with pytest.raises(InputError, match="IM_0001: is an empty file"):
            rx.read(tmp_path)

    def test_two_series_are_told_apart(self, tmp_path):
        msme(tmp_path)
        vtr(tmp_path)
        with pytest.raises(InputError, match=r"2 series \(1: MESE.*2: VTR"):
            rx.read(tmp_path)
        assert rx.read(tmp_path, series=2).kind == "VTR"

    def test_two_reconstructions_of_a_scan_are_two_series(self, tmp_path):
        msme(tmp_path)
        msme(tmp_path, processing=2)
        assert len(rx.inspect(tmp_path).rows) == 2


class TestBroken:
    def changed(self, tmp_path, old: str, new: str) -> Path:
        path = msme(tmp_path)
        file = path.with_name("visu_pars")
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return path

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "2dseq: an empty file; expected 144 bytes, .*; copy the scan again"),
            (b"x" * 100, "2dseq: cut off: 100 bytes; expected 144 bytes, 4×3×1×6 voxels of 16"),
            (b"x" * 150, "2dseq: 150 bytes; expected 144 bytes"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 144\n",
                "2dseq: a Git LFS pointer in place of the file; git lfs pull",
            ),
        ],
    )
    def test_voxels(self, tmp_path, content, words):
        path = msme(tmp_path)
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            rx.read(tmp_path)
        assert len(rx.inspect(tmp_path).unreadable) == 1

    def test_cut_off_after_the_headers_were_read(self, tmp_path):
        path = msme(tmp_path)
        images = bruker.images(path)
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(InputError, match="2dseq: cut off"):
            images[5].load()
        path.unlink()
        with pytest.raises(InputError, match="2dseq: cannot be opened"):
            images[0].load()

    def test_parameters_missing(self, tmp_path):
        path = msme(tmp_path)
        path.with_name("visu_pars").unlink()
        with pytest.raises(InputError, match=r"no visu_pars beside it; .* copy the whole scan"):
            rx.read(tmp_path)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("", "visu_pars: not a list of parameters"),
            ("version https://git-lfs.github.com/spec/v1\n", "visu_pars: a Git LFS pointer .*pull"),
            (jcamp({"VisuCoreDim": 2}), "VisuCoreSize: missing"),
        ],
    )
    def test_parameters_lost(self, tmp_path, content, words):
        path = msme(tmp_path)
        path.with_name("visu_pars").write_text(content)
        with pytest.raises(InputError, match=words):
            rx.read(path)

    @pytest.mark.parametrize(
        ("name", "lacking"), [("acqp", "VisuAcqRepetitionTime"), ("reco", "VisuCoreFrameType")]
    )
    def test_parameters_of_the_scan_not_fetched(self, tmp_path, name, lacking):
        path = msme(tmp_path, without=[lacking])
        file = path.parents[2] / name if name == "acqp" else path.with_name(name)
        file.write_text("version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(InputError, match=f"{name}: a Git LFS pointer in place of the file"):
            rx.read(path)
        file.unlink()
        file.symlink_to(tmp_path / "nowhere")
        with pytest.raises(InputError, match=f"{name}: a link to a file that is not here"):
            rx.read(path)

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("_16BIT_SGN_INT", "_12BIT", "VisuCoreWordType: '_12BIT'; expected _8BIT"),
            ("littleEndian", "middle", "VisuCoreByteOrder: 'middle'"),
            ("VisuCoreFrameCount=6", "VisuCoreFrameCount=5", "144 bytes; expected 120"),
            ("VisuCoreFrameCount=6", "VisuCoreFrameCount=1e300", "whole number from 1"),
            ("(3, <FG_ECHO>, <>, 0, 1)", "(4, <FG_ECHO>, <>, 0, 1)", "4 × 2 frames; expected 6"),
            ("VisuCoreFrameCount=6", "VisuCoreFrameCount=-6", "whole number from 1"),
            ("VisuCoreSize=( 2 )\n4.0 3.0", "VisuCoreSize=( 1 )\n4.0", "VisuCoreSize: "),
            ("VisuCoreSize=( 2 )\n4.0 3.0", "VisuCoreSize=( 2 )\n4e9 3e9", "expected 1440"),
            ("(3, <FG_ECHO>, <>, 0, 1)", "(3, <FG_ECHO>)", "VisuFGOrderDesc: rows of another"),
            ("(3, <FG_ECHO>, <>, 0, 1)", "(x, <FG_ECHO>, <>, 0, 1)", "VisuFGOrderDesc"),
            ("1.0 1.0 1.0 1.0 1.0 1.0", "@99999999999*(1.0)", "more values than a scan"),
            ("1.0 1.0 1.0 1.0 1.0 1.0", "@300*(@300*(@300*(1)))", "repeats within repeats"),
            ("1.0 1.0 1.0 1.0 1.0 1.0", "@6*(1.0", "Slope: repeats within repeats"),
            ("1.0 1.0 1.0 1.0 1.0 1.0", "0 1 1 1 1 1", "VisuCoreDataSlope: 0; expected another"),
            ("1.0 1.0 1.0 1.0 1.0 1.0", "a 1 1 1 1 1", "VisuCoreDataSlope: "),
            ("VisuCoreSize=( 2 )\n4.0 3.0", "VisuCoreSize=(4, (3, 2), 1)", "VisuCoreSize: "),
            ("spatial spatial", "(a, (b, c)) (d)", "spectra or time courses"),
        ],
    )
    def test_parameters_garbled(self, tmp_path, old, new, words):
        path = self.changed(tmp_path, old, new)
        with pytest.raises(InputError, match=words):
            rx.read(path)

    @pytest.mark.parametrize(
        "forged",
        ["@50000*(1) " + 3000 * "1", "@50000*(1)" + 3000 * "<", 50 * "(" + "1" + 50 * ")"],
    )
    def test_one_word_does_not_widen_a_table(self, tmp_path, forged):
        path = msme(tmp_path)
        file = path.with_name("visu_pars")
        more = f"##$VisuAcqEchoTime=( 63 )\n{forged}\n##END="
        file.write_text(file.read_text().replace("##END=", more))
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match="VisuAcqEchoTime: cannot be read as JCAMP-DX"):
                rx.read(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 64 << 20

    @pytest.mark.parametrize(
        "forged",
        ["@1000000*(1.5)", " ".join(["@1000*(1.5)"] * 100), f"@1000*({'0' * 1000})"],
    )
    def test_repeats_are_bounded_in_their_sum(self, tmp_path, forged):
        path = msme(tmp_path)
        names = ("VisuCoreExtent", "VisuCorePosition", "VisuAcqEchoTime", "VisuCoreDataOffs")
        file = path.with_name("visu_pars")
        more = "".join(f"##${name}=( 63 )\n{forged}\n" for name in names)
        file.write_text(file.read_text().replace("##END=", f"{more}##END="))
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match=r"visu_pars: Visu.*: more values than a scan can"):
                rx.read(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 64 << 20

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"VisuAcqEchoTime": [10.0, -20.0, 30.0]}, "VisuAcqEchoTime: -20; expected a positive"),
            ({"VisuAcqEchoTime": [10.0, 20.0]}, "VisuAcqEchoTime: 2 values for 6 frames"),
            ({"VisuAcqEchoTime": "ten"}, "VisuAcqEchoTime: 'ten'"),
            ({"VisuAcqRepetitionTime": [1.0, 2.0, 3.0]}, "VisuAcqRepetitionTime: 3 values for 6"),
        ],
    )
    def test_a_setting_that_is_wrong_can_be_given_by_hand(self, tmp_path, settings, words):
        path = msme(tmp_path, settings=settings)
        with pytest.raises(InputError, match=words + ".*by hand"):
            rx.read(path)
        series = rx.read(path, te=[0.01, 0.02, 0.03], tr=[3.0])
        assert pytest.approx([0.01, 0.02, 0.03]) == series.protocol.TE
        assert (series.signal[:, :, 1, 2] == frames(6)[:, :, 5]).all()

    @pytest.mark.parametrize("value", [-5.0, "five"])
    def test_what_the_scan_says_wrong_is_told_of_its_file(self, tmp_path, value):
        acqp = {"ACQ_repetition_time": value}
        path = msme(tmp_path, without=["VisuAcqRepetitionTime"], acqp=acqp)
        with pytest.raises(InputError, match=r"acqp: ACQ_repetition_time: .*by hand") as caught:
            rx.read(path)
        assert caught.value.path == str(path.parents[2] / "acqp")

    def test_what_the_reconstruction_says_wrong_is_told_of_its_file(self, tmp_path):
        path = msme(tmp_path, without=["VisuCoreFrameType"])
        types = {"RECO_image_type": [Word("REAL_IMAGE"), Word("IMAGINARY_IMAGE")]}
        path.with_name("reco").write_text(jcamp(types))
        with pytest.raises(InputError, match="RECO_image_type: 2 values for 6 frames") as caught:
            rx.read(path)
        assert caught.value.path == str(path.with_name("reco"))

    def test_spectra_are_left_out(self, tmp_path):
        path = msme(tmp_path, settings={"VisuCoreDimDesc": [Word("spectroscopic")]})
        with pytest.raises(LeftOut, match="spectra or time courses, no images"):
            bruker.images(path)
        vtr(tmp_path)
        assert rx.read(tmp_path).kind == "VTR"


class TestFits:
    def test_a_vendors_fit_is_no_input(self, tmp_path):
        msme(tmp_path)
        write_fit(tmp_path, 9, np.full((4, 3, 2), 40.0))
        assert rx.read(tmp_path).kind == "MESE"
        problems = [row.problem for row in rx.inspect(tmp_path).rows]
        assert problems[0] is None
        assert problems[1].startswith("a vendor's fit (DERIVED_ISA)")
        with pytest.raises(InputError, match=r"a vendor's fit \(DERIVED_ISA\).*read_map"):
            rx.read(tmp_path / "9" / "pdata" / "2")

    def test_other_derived_images(self, tmp_path):
        msme(tmp_path, settings={"VisuSeriesTypeId": "DERIVED_MPR"})
        with pytest.raises(InputError, match=r"computed from other images \(DERIVED_MPR\)"):
            rx.read(tmp_path)


def test_nothing_of_people_or_places_comes_out(tmp_path):
    msme(tmp_path / "study")
    write_fit(tmp_path / "study", 9, np.full((4, 3, 2), 40.0))
    series = rx.read(tmp_path / "study")
    inspection = rx.inspect(tmp_path / "study")
    told = [
        repr(series),
        repr(series.provenance),
        repr(inspection),
        json.dumps(inspection.to_dict()),
        repr(rx.read_map(tmp_path / "study")),
        *(repr([i.origin, i.encoding, i.vendor, i.problem]) for i in bruker.images(
            tmp_path / "study" / "9" / "pdata" / "1" / "2dseq"
        )),
    ]  # fmt: skip
    assert SECRET in (tmp_path / "study" / "9" / "pdata" / "1" / "visu_pars").read_text()
    assert not any(SECRET in text for text in told)
    # Nor out of an error about any of it.
    file = tmp_path / "study" / "9" / "pdata" / "1" / "visu_pars"
    file.write_text(file.read_text().replace("spatial", SECRET))
    for path in (file.with_name("2dseq"), tmp_path / "study"):
        assert SECRET not in repr(rx.inspect(path))


@pytest.mark.real_data
class TestRealScans:
    @pytest.fixture
    def phantom(self, real_data) -> Path:
        return real_data / "bruker_7T"

    def test_the_study(self, phantom):
        inspection = rx.inspect(phantom / "paravision")
        assert [row.kind for row in inspection.rows] == ["MESE", "VTR", "IRT1"]
        assert all(row.problem is None for row in inspection.rows)
        assert inspection.ignored == {}
        assert [s.kind for s in rx.read_all(phantom / "paravision")] == ["MESE", "VTR", "IRT1"]

    @pytest.mark.parametrize(
        ("scan", "export", "times"),
        [
            (9, "enhanced_dicom/9", {"TE": 7.7e-3 * np.arange(1, 8), "TR": [1.5] * 7}),
            (11, "classic_dicom/11", {"TR": [0.5, 1.5, 3.0], "TE": [6.1e-3] * 3}),
        ],
    )
    def test_one_scan_twice(self, phantom, scan, export, times):
        """MSME, echo fastest, and RARE-VTR, slice fastest, with their exports as DICOM."""
        raw, exported = rx.read(phantom / "paravision" / str(scan)), rx.read(phantom / export)
        assert raw.signal.shape == (192, 160, 9, len(times["TE"]))
        np.testing.assert_allclose(raw.signal, exported.signal, rtol=1e-6)
        assert raw.affine == pytest.approx(exported.affine, abs=1e-6)
        for name, expected in times.items():
            for series in (raw, exported):
                assert pytest.approx(expected, abs=1e-6) == getattr(series.protocol, name)
        assert raw.kind == exported.kind
        assert raw.field_T == pytest.approx(exported.field_T, rel=1e-4)
        # 40 × 35 mm on 192 × 160 voxels; ParaVision's exporter has them the other way round.
        assert voxel_size(raw.affine) == pytest.approx((40 / 192, 35 / 160, 1), abs=1e-6)
        assert "PixelSpacing" in exported.provenance.notes[0]

    def test_the_numbers_are_those_stored(self, phantom):
        """Counted out by hand: frames of 192 × 160 int16, slice fastest, TR from the longest."""
        raw = rx.read(phantom / "paravision" / "11")
        stored = np.fromfile(phantom / "paravision/11/pdata/1/2dseq", dtype="<i2")
        stored = stored.reshape(3, 9, 160, 192)[::-1]
        expected = stored.transpose(3, 2, 1, 0) * 0.00093598980921277
        np.testing.assert_allclose(raw.signal, expected, rtol=1e-6)

    def test_scan_13_is_an_inversion_recovery(self, phantom):
        series = rx.read(phantom / "paravision" / "13")
        assert series.signal.shape == (192, 160, 9, 3)
        assert pytest.approx([0.0148, 0.3, 1.0]) == series.protocol.TI
        # 10 shots of each TI take the 180.2 s that the scan is said to have taken.
        assert 10 * series.protocol.TR.sum() == pytest.approx(180.202878, abs=1e-6)

    def test_times_are_those_of_a_phantom(self, phantom):
        for scan, time, low, high in ((11, "T1", 1.0, 4.0), (9, "T2", 0.02, 2.0)):
            series = rx.read(phantom / "paravision" / str(scan))
            bright = series.signal.max(axis=3)
            mask = np.zeros(series.grid, dtype=bool)
            mask[:, :, 4] = bright[:, :, 4] > 0.5 * np.percentile(bright[:, :, 4], 99)
            maps = rx.fit_maps(series, mask=mask)
            median = float(np.nanmedian(maps[time].value))
            assert low < median < high

    def test_a_copy_without_its_parameters(self, phantom, tmp_path):
        shutil.copytree(phantom / "paravision" / "13", tmp_path / "13")
        for file in (tmp_path / "13").rglob("acqp"):
            file.unlink()
        series = rx.read(tmp_path / "13")
        assert series.protocol.TR is None
