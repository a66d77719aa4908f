"""Figures of contrast: the regions' names fit below their images, quantities have words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry import plots


@pytest.mark.parametrize(
    "names", [{"a": 1, "b": 2, "c": 3, "d": 4}, dict.fromkeys(["liver, left lobe"], 2)]
)
@pytest.mark.parametrize("images", [1, 2, 5])
def test_names_of_regions_are_never_cut_off(images: int, names: dict[str, int]) -> None:
    labels = np.zeros((40, 40, 1), np.int32)
    for k in range(4):
        labels[5 + 8 * k : 10 + 8 * k, 5:10] = k + 1
    roles = dict(zip(("target", "reference", "muscle", "noise"), (1, 2, 3, 4), strict=True))
    regions = rx.Regions(labels, np.eye(4), names)
    shown = [(f"{k} min", np.ones((40, 40, 1)) + k) for k in range(images)]
    figure = plots.contrast_images(shown, regions, roles)
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= min(ax.get_window_extent().y0 for ax in figure.axes) + 1


def test_a_time_course_names_its_quantity_in_words() -> None:
    table = pd.DataFrame({"animal": "1", "time_s": [0.0, 600.0, 1800.0], "value": [1.0, 2.0, 1.5]})
    figure = plots.time_course(rx.time_course(table, "CNR_relative"))
    assert figure.axes[0].get_ylabel() == "CNR, relative"
    assert "change of CNR, relative" in {
        ax.get_ylabel()
        for ax in plots.time_course(rx.time_course(table, "CNR_relative"), change=True).axes
    }
