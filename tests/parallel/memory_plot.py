#!/usr/bin/env python3
"""Draws predicted over measured bytes as an SVG.

  memory_plot.py TABLE... PICTURE

TABLE: build/default/memory-prediction-FAMILY.tsv, which WEFT_MEMORY_ALL=1 launch/test -R MemoryPrediction writes.
"""
import csv
import math
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 300, 60, 40, 16
COLOURS = {"encode": "#1b9e77", "denoise": "#7570b3", "decode": "#d95f02"}
LOW, HIGH = 0.98, 1.06


def main():
    rows = []
    for name in sys.argv[1:-1]:
        with open(name) as table:
            rows += [(row["phase"], int(row["predicted"]), int(row["measured"])) for row in csv.DictReader(table, delimiter="\t")]
    least = math.floor(math.log10(min(row[2] for row in rows)) * 4) / 4
    most = math.ceil(math.log10(max(row[2] for row in rows)) * 4) / 4
    x = lambda measured: LEFT + (math.log10(measured) - least) / (most - least) * (WIDTH - LEFT - 12)
    y = lambda ratio: TOP + (HIGH - ratio) / (HIGH - LOW) * (HEIGHT - TOP - BOTTOM)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<rect x="{LEFT}" y="{y(1.05):.1f}" width="{WIDTH - LEFT - 12}" height="{y(0.99) - y(1.05):.1f}" fill="#eee"/>']
    for ratio in (0.98, 0.99, 1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06):
        out.append(f'<text x="{LEFT - 6}" y="{y(ratio) + 4:.1f}" text-anchor="end">{ratio:.2f}</text>')
    out.append(f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y(1):.1f}" y2="{y(1):.1f}" stroke="#000"/>')
    for megabytes in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if 10 ** least <= megabytes * 1e6 <= 10 ** most:
            out.append(f'<text x="{x(megabytes * 1e6):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{megabytes} MB</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">measured peak of tensors, of a rank in a phase; grey: what is allowed</text>')
    for phase, colour in COLOURS.items():
        points = " ".join(f"M{x(measured):.1f} {y(predicted / measured):.1f}h0" for which, predicted, measured in rows if which == phase)
        out.append(f'<path d="{points}" stroke="{colour}" stroke-width="5" stroke-linecap="round" stroke-opacity=".6"/>')
        place = LEFT + 12 + 80 * list(COLOURS).index(phase)
        out.append(f'<text x="{place}" y="{TOP + 12}" fill="{colour}">{phase}</text>')
    with open(sys.argv[-1], "w") as picture:
        picture.write("\n".join(out) + "\n</svg>\n")
    ratios = [predicted / measured for _, predicted, measured in rows]
    print(f"{len(rows)} peaks, predicted over measured from {min(ratios):.3f} to {max(ratios):.3f}")


main()
