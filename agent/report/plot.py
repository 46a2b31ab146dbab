"""Charts as inline SVG: crisp at any width, in the colours of the page (light or dark), and without a library in the page.

Colours are CSS classes (`c-champion`, `c-0`, ...), defined in html/style.css. A chart is drawn at three sizes, so that its text can be
read on a desktop as well as on a phone.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from markupsafe import Markup, escape

Size = tuple[int, int]  # width and height, CSS pixels
Range = tuple[float, float]
SIZES: dict[str, Size] = {"wide": (1040, 330), "middle": (720, 300), "narrow": (350, 260)}  # by CSS class
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 8, 34  # margins for the labels of the axes


class Chart:
    """One chart.

    Args:
        size: of the whole picture.
        x: range of the horizontal axis.
        y: range of the vertical axis.
    """

    def __init__(self, size: Size, x: Range, y: Range) -> None:
        self.size, self.x, self.y = size, x, y
        self.parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point in the picture, pixels from the left and from the top."""
        (left, right), (low, high), (width, height) = self.x, self.y, self.size
        # SVG counts pixels from the top, data go upwards. Tenths of a pixel are enough: further digits would only make the page larger.
        across, up = (x - left) / (right - left), (y - low) / (high - low)
        return round(LEFT + across * (width - LEFT - RIGHT), 1), round(height - BOTTOM - up * (height - TOP - BOTTOM), 1)

    def axes(self, x_ticks: Mapping[float, str], y_ticks: Mapping[float, str], x_title: str = "") -> None:
        """Draw grid lines with the labels of both axes."""
        for value, label in y_ticks.items():
            (x, y), (end, _) = self.at(self.x[0], value), self.at(self.x[1], value)
            # A text of 12 pixels stands on its y: with 4 pixels more its middle is on the line.
            self.parts.append(f'<path class="grid" d="M{x} {y}H{end}"/><text x="{x - 6}" y="{y + 4}" text-anchor="end">{escape(label)}</text>')
        for value, label in x_ticks.items():
            x, y = self.at(value, self.y[0])
            self.parts.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{escape(label)}</text>')
        if x_title:
            self.parts.append(f'<text x="{(LEFT + self.size[0] - RIGHT) / 2}" y="{self.size[1] - 3}" text-anchor="middle">{escape(x_title)}</text>')

    def line(self, points: Iterable[tuple[float, float]], style: str, dashed: bool = False) -> None:
        """Draw a line through points."""
        path = " ".join(f"{x} {y}" for x, y in (self.at(*point) for point in points))
        self.parts.append(f'<polyline class="line {style}{" dashed" if dashed else ""}" points="{path}"/>' if path else "")

    def band(self, points: Sequence[tuple[float, float, float]], style: str) -> None:
        """Fill between the low and the high ends of (x, low, high)."""
        # There along the low ends, and back along the high ones.
        path = [*(self.at(x, low) for x, low, _ in points), *(self.at(x, high) for x, _, high in reversed(points))]
        # A single point has no area.
        self.parts.append(f'<polygon class="band {style}" points="{" ".join(f"{x} {y}" for x, y in path)}"/>' if len(points) > 1 else "")

    def whisker(self, x: float, low: float, high: float, style: str) -> None:
        """Draw an interval as a vertical line."""
        (at, bottom), (_, top) = self.at(x, low), self.at(x, high)
        # The interval, with a stroke of 8 pixels at either end.
        self.parts.append(f'<path class="whisker {style}" d="M{at} {bottom}V{top}M{at - 4} {bottom}h8M{at - 4} {top}h8"/>')

    def mark(self, x: float, y: float, style: str, title: str, kind: str = "dot", radius: float = 4.5) -> None:
        """Draw a point: a `dot`, a `ring` or a `diamond`; its title shows under the pointer."""
        at, up = self.at(x, y)
        # Left open: class and title follow.
        shape = f'<circle cx="{at}" cy="{up}" r="{radius}"' if kind != "diamond" else f'<path d="M{at} {up - 6}l6 6l-6 6l-6 -6z"'
        self.parts.append(f'{shape} class="{kind} {style}"><title>{escape(title)}</title>{"</path>" if kind == "diamond" else "</circle>"}')

    def shade(self, begin: float, end: float) -> None:
        """Draw a grey ground from `begin` to `end` of the horizontal axis."""
        (x, top), (right, bottom) = self.at(begin, self.y[1]), self.at(end, self.y[0])
        self.parts.append(f'<rect class="shade" x="{x}" y="{top}" width="{right - x:.1f}" height="{bottom - top:.1f}"/>')

    def rule(self, x: float) -> None:
        """Draw a vertical line."""
        (at, top), (_, bottom) = self.at(x, self.y[1]), self.at(x, self.y[0])
        self.parts.append(f'<path class="grid" d="M{at} {top}V{bottom}"/>')

    def svg(self, label: str, kind: str = "") -> Markup:
        """Return the picture; `label` says in words what it shows."""
        width, height = self.size
        begin = f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(label)}">'
        return Markup(begin + "".join(self.parts) + "</svg>")  # every text in it is escaped


def at_all_sizes(draw: Callable[[Size], Chart], label: str) -> Markup:
    """Return a chart at each of `SIZES`, of which the page shows the one that fits."""
    return Markup("").join(draw(size).svg(label, kind) for kind, size in SIZES.items())


def percent_ticks() -> dict[float, str]:
    """Return the labels of an axis from 0 to 1 in percent."""
    return {share / 100: f"{share} %" if share == 100 else str(share) for share in (0, 25, 50, 75, 100)}  # the unit once, at the top


def whole_ticks(last: int, most: int = 12) -> dict[float, str]:
    """Return labels of whole numbers from 0 to `last`, at most so many."""
    # A step of at least 1, also where `last` is 0.
    return {float(number): str(number) for number in range(0, last + 1, max(1, math.ceil(last / most)))}


def round_ticks(low: float, high: float, count: int = 4) -> dict[float, str]:
    """Return about `count` labels at round numbers within a range."""
    raw = (high - low) / count or 1.0  # a flat line has no range, and 0 no logarithm
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(each * size for each in (1, 2, 2.5, 5, 10) if each * size >= raw)  # found always: raw / size lies in [1, 10)
    values = [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]  # 3 * 0.1 is 0.30000000000000004
    return {value: short(value) for value in values}


def short(value: float) -> str:
    """Return a number in few characters: 1.2 k, 3 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def thinned(points: Sequence[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """Return at most about `most` points: means of neighbours, where there are more."""
    size = math.ceil(len(points) / most) or 1  # no points: `range` refuses a step of 0
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
