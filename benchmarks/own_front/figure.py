"""One's own network made smaller by a sweep and by hand, on one figure.

    python -m benchmarks.own_front.figure POINTS.jsonl OUT.svg

Each line of the first file is a student: ``who`` made it, ``label``, how many ``times`` it is smaller than
the network, and its accuracy on the ``test`` split, in [0, 1]; the network itself is ``who: network``.
"""

from __future__ import annotations

import argparse
import json
import math
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 20, 48
COLOURS = ("#b3261e", "#2f7fb8", "#5b8c5a")
TICKS = (1, 2, 5, 10, 20, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    points = [json.loads(line) for line in options.points.read_text().splitlines()]
    options.out.write_text(drawn(points))


def drawn(points: list[dict[str, Any]]) -> str:
    """The figure: how many times smaller (logarithmic) against points lost on the test split."""
    whole = next(each["test"] for each in points if each["who"] == "network")
    students = [each for each in points if each["who"] != "network"]
    lost = {id(each): 100 * (whole - each["test"]) for each in students}
    most = max(4.0, *lost.values()) + 0.5

    def place(times: float, points: float) -> tuple[float, float]:
        across = math.log(times) / math.log(TICKS[-1])
        up = (points + 0.5) / (most + 0.5)
        return LEFT + across * (WIDTH - LEFT - RIGHT), TOP + up * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for number in range(math.ceil(most)):
        x, y = place(1, number)
        parts.append(f'<line x1="{x}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y:.1f}" dy="4" text-anchor="end">{-number}</text>')
    for tick in TICKS:
        x, _ = place(tick, 0)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 28}" text-anchor="middle">{tick}x</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">times smaller</text>')
    label = "points to the network, test split"
    parts.append(
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{label}</text>'
    )
    for number, who in enumerate(dict.fromkeys(each["who"] for each in students)):
        own = sorted((each for each in students if each["who"] == who), key=lambda each: each["times"])
        colour, places = COLOURS[number], [place(each["times"], lost[id(each)]) for each in own]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for each, (x, y) in zip(own, places, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
            beside = y + (18 if number else -12)
            text = escape(each["label"])
            parts.append(f'<text x="{x:.1f}" y="{beside:.1f}" text-anchor="middle">{text}</text>')
        parts.append(
            f'<text x="{LEFT + 20}" y="{HEIGHT - 80 - 18 * number}" fill="{colour}">{escape(who)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
