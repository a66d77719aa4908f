"""Figures of contrast: the regions' names fit below their images."""

from __future__ import annotations

import numpy as np
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
