"""Concentrations as chemists state them, against conversions done by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.concentration import MOLAR_MASS, UNITS, concentration_mM, diluted_mM, element
from relaxometry.rates import points_of
from relaxometry.sheet import read_sheet

C = (0.4, 0.2, 0.1)


class TestConversion:
    @pytest.mark.parametrize(
        ("value", "unit", "ion", "expected"),
        [
            (0.4, "mM", "", 0.4),
            (400.0, "uM", "", 0.4),
            (400.0, "µM", "", 0.4),  # micro sign
            (400.0, "μM", "", 0.4),  # Greek mu
            (0.0004, "M", "", 0.4),
            (0.0004, "mol/L", "", 0.4),
            (0.4, "mmol/L", "", 0.4),
            (400.0, "umol/L", "", 0.4),
            (4e5, "nM", "", 0.4),
            # 55.845 g of iron are a mole, 157.25 g of gadolinium, 54.938 g of manganese.
            (55.845, "mg/mL", "Fe", 1000.0),
            (55.845, "g/L", "Fe", 1000.0),
            (55.845, "mg/L", "Fe", 1.0),
            (55.845, "ug/mL", "Fe", 1.0),
            (55.845, "µg/mL", "Fe", 1.0),
            (55.845, "ppm", "Fe", 1.0),
            (55845.0, "ng/mL", "Fe", 1.0),
            (157.25, "ug/mL", "Gd", 1.0),
            (54.938, "ug/mL", "Mn", 1.0),
        ],
    )
    def test_units(self, value, unit, ion, expected):
        assert rx.concentration_mM(value, unit, ion=ion) == pytest.approx(expected, rel=1e-12)

    def test_a_published_dose(self):
        """Ferumoxytol is sold at 30 mg of iron in 1 mL: 537 mM."""
        assert concentration_mM(30, "mg/mL", ion="Fe") == pytest.approx(537.2, abs=0.1)

    def test_arrays_keep_their_shape(self):
        values = np.array([[1.0, 2.0], [3.0, 0.0]])
        found = concentration_mM(values, "uM")
        np.testing.assert_allclose(found, values / 1e3)
        assert isinstance(concentration_mM(1, "mM"), float)

    def test_ppm_is_per_mass_of_solution(self):
        assert concentration_mM(55.845, "ppm", ion="Fe", density_g_per_mL=1.2) == pytest.approx(1.2)

    def test_ions_of_particles(self):
        """2 nM of particles of 5000 iron ions are 10 µM of iron."""
        assert concentration_mM(2, "nM", ions_per_particle=5000) == pytest.approx(0.010)

    def test_a_molar_mass_of_ones_own(self):
        """Gd-DOTA, 558.6 g/mol."""
        assert concentration_mM(0.5586, "mg/mL", molar_mass=558.6) == pytest.approx(1.0)

    @pytest.mark.parametrize("written", ["Fe", "Fe3+", "Fe(III)", " iron", "Fe²⁺", "Iron", "Fe3"])
    def test_ways_to_write_an_ion(self, written):
        assert element(written) == "Fe"

    @pytest.mark.parametrize("written", ["", "fe", "Xx", "Fe3O4", "FeCl3", "lead"])
    def test_what_is_no_ion(self, written):
        assert element(written) == ""

    def test_dilution(self):
        np.testing.assert_allclose(diluted_mM(20, [1, 50, 100]), [20, 0.4, 0.2])
        assert rx.diluted_mM(20.0, 50) == pytest.approx(0.4)

    @pytest.mark.parametrize(
        ("call", "complaint"),
        [
            (lambda: concentration_mM(1, "mmol"), r"'mmol'; expected M, mol/L, mM"),
            (lambda: concentration_mM(1, "mg/mL"), r"ion: mg/mL of what is not said; .*Fe.*Gd"),
            (lambda: concentration_mM(1, "ppm", ion="Q"), "molar mass of 'Q' is not known; .*Fe"),
            (lambda: concentration_mM(1, "mg/mL", ion="Fe3O4"), "'Fe3O4'.* or a molar mass in"),
            (lambda: concentration_mM(1, "g/L", molar_mass=0), "molar_mass: 0; .*above 0"),
            (
                lambda: concentration_mM(1, "ppm", ion="Fe", density_g_per_mL=-1),
                "density_g_per_mL: -1",
            ),
            (
                lambda: concentration_mM(1, "mg/mL", ion="Fe", ions_per_particle=9),
                "ions_per_particle with mg/mL",
            ),
            (lambda: concentration_mM(1, "nM", ions_per_particle=0), "ions_per_particle: 0"),
            (lambda: diluted_mM(10, 0.01), "dilution_factor: 0.01; expected from 1"),
        ],
    )
    def test_what_cannot_be_right(self, call, complaint):
        with pytest.raises(rx.InputError, match=complaint) as error:
            call()
        assert "\n" not in str(error.value)

    def test_molar_masses_are_abridged_to_five_figures(self):
        assert all(len(f"{mass}".replace(".", "")) <= 5 for mass in MOLAR_MASS.values())
        assert (MOLAR_MASS["Fe"], MOLAR_MASS["Gd"], MOLAR_MASS["Mn"]) == (55.845, 157.25, 54.938)
        assert {"mM", "ppm", "mg/mL"} <= set(UNITS)


def table(**columns):
    """Agent A, R2 = 9 + 100·c."""
    made = pd.DataFrame({"agent": ["A", "A", "A", "blank"]})
    made["R2_per_s"] = 9 + 100 * np.array([*C, 0])
    return made.assign(**columns)


def column(factor):
    return [factor * c for c in C] + [0.0]


#: Ways to say 0.4, 0.2, 0.1 mM of iron and a blank.
WAYS = {
    "mM": {"concentration_mM": column(1)},
    "uM": {"concentration_uM": column(1e3)},
    "nM": {"concentration_nM": column(1e6)},
    "mg/mL": {"concentration_mg_per_mL": column(0.055845), "ion": ["Fe", "Fe", "Fe", ""]},
    "ug/mL": {"concentration_ug_per_mL": column(55.845), "ion": "iron"},
    "ppm": {"concentration_ppm": column(55.845), "ion": "Fe3+"},
    "ppm, density": {
        "concentration_ppm": column(55.845),
        "ion": "Fe",
        "density_g_per_mL": 1.0,
    },
    "complex": {"concentration_mg_per_mL": column(0.5586), "molar_mass_g_per_mol": 558.6},
    "particles": {"particles_nM": column(1e6 / 5000), "ions_per_particle": 5000},
    "stock, mM": {"stock_mM": [20, 20, 20, 0], "dilution_factor": [50, 100, 200, ""]},
    "stock, mg/mL": {
        "stock_mg_per_mL": [1.1169, 1.1169, 1.1169, 0],
        "dilution_factor": [50, 100, 200, 1],
        "ion": "Fe",
    },
    "each its own": {
        "concentration_mM": [0.4, "", "", 0],
        "concentration_uM": ["", 200, "", ""],
        "stock_ug_per_mL": ["", "", 558.45, ""],
        "dilution_factor": ["", "", 100, ""],
        "ion": "Fe",
    },
    "twice alike": {"concentration_mM": column(1), "concentration_uM": column(1e3)},
}


@pytest.mark.parametrize("way", WAYS)
class TestWaysToSayIt:
    def test_in_a_table(self, way):
        points = points_of(table(**WAYS[way]))
        np.testing.assert_allclose(points["concentration_mM"], [*C, 0], rtol=1e-9)
        line = rx.relaxivity(table(**WAYS[way]))["A"]["r2"]
        assert line.r.value == pytest.approx(100)

    def test_in_the_sheet_of_a_rack(self, way, tmp_path):
        path = tmp_path / "tubes.csv"
        table(**WAYS[way]).drop(columns="R2_per_s").assign(tube=range(1, 5)).to_csv(path)
        sheet = read_sheet(path)
        np.testing.assert_allclose(sheet["concentration_mM"], [*C, 0], rtol=1e-9)
        assert "dilution_factor" not in sheet

    def test_a_file_is_the_same(self, way, tmp_path):
        path = tmp_path / "table.csv"
        table(**WAYS[way]).to_csv(path, index=False)
        line = rx.analyse_table(path).relaxivity["A"]["r2"]
        assert line.r.value == pytest.approx(100)


class TestErrorsOfConcentrations:
    @pytest.mark.parametrize(
        "said",
        [
            {"concentration_mM": column(1), "concentration_sd_mM": column(0.05)},
            {"concentration_mM": column(1), "concentration_sd_percent": 5},
            {"concentration_uM": column(1e3), "concentration_sd_uM": column(50)},
            {"concentration_uM": column(1e3), "concentration_sd_mM": column(0.05)},
            {
                "concentration_mg_per_mL": column(0.055845),
                "concentration_sd_mg_per_mL": column(0.05 * 0.055845),
                "ion": "Fe",
            },
            {
                "particles_nM": column(1000),
                "particles_sd_nM": column(50),
                "ions_per_particle": 1000,
            },
            {
                "stock_mM": [20, 20, 20, 0],
                "dilution_factor": [50, 100, 200, 1],
                "concentration_sd_percent": [5, 5, 5, ""],
            },
        ],
    )
    def test_of_each_tube(self, said):
        points = points_of(table(**said))
        np.testing.assert_allclose(
            points["concentration_sd_mM"], 0.05 * points["concentration_mM"], rtol=1e-9
        )
        assert (points["stock_rsd"] == 0).all()

    def test_common_to_an_agent(self):
        points = points_of(
            table(concentration_mM=column(1), stock_sd_percent=[3, 3, 3, ""]).assign(
                concentration_sd_percent=2
            )
        )
        np.testing.assert_allclose(points["stock_rsd"], [0.03, 0.03, 0.03, 0])
        np.testing.assert_allclose(points["concentration_sd_mM"], 0.02 * np.array([*C, 0]))

    def test_each_agent_has_its_own_stock(self):
        first = table(concentration_mM=column(1), stock_sd_percent=3)
        second = first.assign(agent=["B"] * 3 + ["blank"], stock_sd_percent="")
        points = points_of(pd.concat([first, second]))
        np.testing.assert_allclose(points["stock_rsd"], [0.03, 0.03, 0.03, 0, 0, 0, 0, 0])

    def test_a_sheet_carries_the_error_of_its_stock(self, tmp_path):
        path = tmp_path / "tubes.csv"
        path.write_text(
            "tube,agent,concentration_uM,stock_sd_percent,field_T,ion\n1,A,400,3,7,Fe\n2,,0,,,\n"
        )
        first, blank = read_sheet(path).to_dict("records")
        assert (first["stock_sd_percent"], first["field_T"], first["ion"]) == (3, 7, "Fe")
        assert np.isnan(blank["stock_sd_percent"])
        again = points_of(read_sheet(path).assign(R2_per_s=[49.0, 9.0]))
        np.testing.assert_allclose(again["stock_rsd"], [0.03, 0])

    @pytest.mark.parametrize(
        ("said", "complaint"),
        [
            ({"stock_sd_percent": [3, 3, 4, ""]}, "stock_sd_percent: 3 and 4 in rows of A; .*one"),
            ({"stock_sd_percent": [3, 3, "", ""]}, "stock_sd_percent: 0 and 3 in rows of A"),
            ({"stock_sd_percent": -3}, "stock_sd_percent of row 1: -3; expected percent"),
            ({"concentration_sd_percent": -3}, "concentration_sd_percent of row 1: -3 %"),
            ({"concentration_sd_mM": -0.1}, "concentration_sd_mM of row 1: -0.1 mM; expected ≥ 0"),
            (
                {"concentration_sd_percent": 3, "concentration_sd_mM": 0.1},
                "concentration_sd_percent of row 1: also said by concentration_sd_mM",
            ),
            ({"concentration_sd_uM": 3}, "concentration_sd_uM of row 1: .*in the same unit"),
        ],
    )
    def test_that_cannot_be_right(self, said, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            points_of(table(concentration_mM=column(1), **said))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"concentration_mg_per_mL": column(1)}, "ion of row 1: mg/mL of what is not said"),
        ({"concentration_ppm": column(1), "ion": "Fx"}, "ion of row 1: .*'Fx' is not known"),
        ({"concentration_uM": column(-1)}, "concentration_uM of row 1: -0.4 uM; expected ≥ 0"),
        ({"particles_nM": column(1)}, "ions_per_particle of row 1: no number.*concentration_nM"),
        (
            {"particles_nM": column(1), "ions_per_particle": 0},
            "ions_per_particle of row 1: 0; expected a number above 0",
        ),
        ({"dilution_factor": 10}, "dilution_factor of row 1: a dilution of what is not said"),
        (
            {"dilution_factor": 0.02, "stock_mM": 20},
            "dilution_factor of row 1: 0.02; expected from 1",
        ),
        ({"stock_mM": 20}, "row 1 has no concentration"),
        (
            {"concentration_mM": column(1), "concentration_uM": column(1)},
            "concentration of row 1: concentration_mM says 0.4 mM, concentration_uM 0.0004 mM",
        ),
        ({"concentration_uM": ["", 1, 2, 0]}, "row 1 has no concentration"),
        ({"concentration_uM": ["<1", 1, 2, 0]}, "concentration_uM of row 1: '<1'; expected a numb"),
    ],
)
def test_concentrations_that_cannot_be_right(said, complaint):
    with pytest.raises(rx.InputError, match=complaint) as error:
        rx.relaxivity(table(**said))
    assert "\n" not in str(error.value)
