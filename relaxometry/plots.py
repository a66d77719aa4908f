"""Figures for reports and papers, all of them: T1 and T2 in ms, a unit on every axis.

Each is a matplotlib ``Figure``; :func:`save` writes it, and :class:`Look` says how large.
"""

from __future__ import annotations

from .agreement import bland_altman
from .barplots import agent_bars
from .canvas import Look, Picture, as_pdf, as_png, as_svg, save
from .changepictures import change_map
from .contrastplots import contrast_bars
from .courseplots import time_course
from .curveplots import curve_panel
from .lineplots import relaxivity_lines
from .pictures import parameter_map, tube_overlay
from .planplots import concentration_plot, contrast_map
from .regionpictures import contrast_images, flood_image
from .relaxivitymap import relaxivity_map

__all__ = [
    "Look",
    "Picture",
    "agent_bars",
    "as_pdf",
    "as_png",
    "as_svg",
    "bland_altman",
    "change_map",
    "concentration_plot",
    "contrast_bars",
    "contrast_images",
    "contrast_map",
    "curve_panel",
    "flood_image",
    "parameter_map",
    "relaxivity_lines",
    "relaxivity_map",
    "save",
    "time_course",
    "tube_overlay",
]
