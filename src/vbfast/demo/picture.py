"""The picture that the demonstration ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.atomic_file import written_whole
from vbfast.optional import needed

__all__ = ["Bar", "Panel", "draw"]

# Pixels.
ZOOM, MARGIN, TEXT, TITLE, BAR = 3, 32, 22, 28, 30
PAPER, INK, FAINT = "#ffffff", "#1f2430", "#6b7280"
COLOURS = ("#2563eb", "#9ca3af")


@dataclass(frozen=True)
class Panel:
    """A grey image with values in [0, 1], and what stands below it: a name and a remark."""

    image: npt.NDArray[np.float64]
    name: str
    remark: str


@dataclass(frozen=True)
class Bar:
    """A duration in seconds, whose it is, and a remark."""

    name: str
    seconds: float
    remark: str = ""

    @property
    def figure(self) -> str:
        """The seconds as text."""
        return f"{self.seconds:.2f} s" if self.seconds < 10.0 else f"{self.seconds:,.0f} s"


def draw(
    path: Path, title: str, panels: Sequence[Panel], bars_title: str, bars: Sequence[Bar]
) -> None:
    """Draw images of one size side by side, durations as bars below them, and write a PNG.

    Parameters
    ----------
    path : Path
    title : str
    panels : sequence of Panel
    bars_title : str
    bars : sequence of Bar
    """
    with needed("PIL", by="the picture"):
        from PIL import Image, ImageDraw, ImageFont

    def font(size: int) -> Any:
        return ImageFont.load_default(size)

    height, width = (ZOOM * side for side in panels[0].image.shape)
    whole = (width + MARGIN) * len(panels) + MARGIN
    below = MARGIN + TITLE + MARGIN // 2 + height + 2 * TEXT + MARGIN
    canvas = Image.new(
        "RGB", (whole, below + TEXT + (BAR + 10) * len(bars) + MARGIN + MARGIN // 2), PAPER
    )
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, MARGIN - 6), title, fill=INK, font=font(TITLE))
    top = MARGIN + TITLE + MARGIN // 2
    for index, panel in enumerate(panels):
        left = MARGIN + index * (width + MARGIN)
        grey = Image.fromarray(np.uint8(np.round(255.0 * np.clip(panel.image, 0.0, 1.0))))
        canvas.paste(grey.resize((width, height), Image.Resampling.NEAREST), (left, top))
        place = (left, top + height + 8)
        pen.text(place, panel.name, fill=INK, font=font(TEXT))
        after = pen.textlength(panel.name + "  ", font=font(TEXT))
        pen.text((left + after, place[1]), panel.remark, fill=FAINT, font=font(TEXT))

    pen.text((MARGIN, below), bars_title, fill=INK, font=font(TEXT))
    names = max(pen.textlength(bar.name, font=font(TEXT)) for bar in bars) + MARGIN // 2
    figures = [f"{bar.figure}  {bar.remark}".rstrip() for bar in bars]
    room = max(pen.textlength(figure, font=font(TEXT)) for figure in figures) + MARGIN // 2
    scale = (whole - 2 * MARGIN - names - room) / max(bar.seconds for bar in bars)
    for index, (bar, figure) in enumerate(zip(bars, figures, strict=True)):
        y = below + TEXT + MARGIN // 2 + index * (BAR + 10)
        left, right = MARGIN + names, MARGIN + names + max(2.0, scale * bar.seconds)
        pen.text((MARGIN, y), bar.name, fill=INK, font=font(TEXT))
        pen.rectangle((left, y, right, y + BAR), fill=COLOURS[index % len(COLOURS)])
        pen.text((right + MARGIN // 2, y), figure, fill=FAINT, font=font(TEXT))
    with written_whole(path) as file:
        canvas.save(file, format="PNG")
