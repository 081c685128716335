"""A plot of several lines over two logarithmic axes, as SVG."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 120, 56, 68
COLORS = ("#d1495b", "#edae49", "#6b7280", "#7b2cbf", "#00798c", "#30638e")


def plot(title: str, note: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """Return an SVG document; `across` and `up` name the axes."""
    points = [point for line in lines.values() for point in line]
    bounds = [
        (floor(log10(min(values)) + 0.001), ceil(log10(max(values)) - 0.001))
        for values in zip(*points, strict=True)
    ]
    (x0, x1), (y0, y1) = bounds

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (log10(x) - x0) / max(1, x1 - x0) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (log10(y) - y0) / max(1, y1 - y0) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_text(LEFT, 24, title, "start", size=15)]
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 30, across)]
    parts += [_text(LEFT, HEIGHT - 8, note, "start", size=9)]
    parts += [_text(LEFT, TOP - 12, up, "start", size=11)]
    for power in range(x0, x1 + 1):
        x, bottom = place(10**power, 10**y0)
        parts.append(_line((x, TOP), (x, bottom), "#e5e7eb"))
        parts.append(_text(x, bottom + 18, f"{10**power:,}"))
    for power in range(y0, y1 + 1):
        left, y = place(10**x0, 10**power)
        parts.append(_line((left, y), (WIDTH - RIGHT, y), "#e5e7eb"))
        parts.append(_text(left - 8, y + 4, f"{10**power:,}", "end"))
    labels = []
    for color, (name, line) in zip(COLORS, lines.items(), strict=False):
        places = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in places]
        labels.append((*places[-1], name, color))
    parts += _apart(labels)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        f"{body}\n</svg>\n"
    )


def _apart(labels: list[tuple[float, float, str, str]]) -> list[str]:
    """Return each label beside its point, or as little below it as the one above lets it be."""
    parts = []
    lowest: dict[float, float] = {}
    for x, y, name, color in sorted(labels):
        lowest[x] = max(y, lowest.get(x, 0) + 15)
        parts.append(_text(x + 10, lowest[x] + 4, name, "start", color=color))
    return parts


def _line(start: tuple[float, float], end: tuple[float, float], color: str) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "middle", *, size: int = 12, color: str = "#374151"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' fill="{color}">{escape(text)}</text>'
    )
