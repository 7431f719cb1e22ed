"""A contact sheet of judged cases, two a row: the reference, and moments of the film with the poses above.

    python sheet.py OUT.png CASES FILMS NAME...        FILMS is what table.py --keep wrote
"""
import pathlib
import sys

import cv2
import numpy as np

MOMENTS = 6


def block(case, film):
    video, frames = cv2.VideoCapture(str(film)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    picks = np.linspace(2, len(frames) - 1, MOMENTS).astype(int)
    poses = np.concatenate([cv2.imread(str(case / "pose" / f"{k + 1:05d}.png")) for k in picks], 1)
    shown = np.concatenate([frames[k] for k in picks], 1)
    size = shown.shape[0]
    left = np.full((2 * size, size + 6, 3), 255, np.uint8)
    left[size:, :size] = cv2.imread(str(case / "image.png"))
    return cv2.copyMakeBorder(np.concatenate([left, np.concatenate([poses, shown])], 1), 0, 10, 0, 12, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def main():
    if len(sys.argv) < 5:
        raise SystemExit(__doc__)
    out, cases, films, *names = sys.argv[1:]
    blocks = [block(pathlib.Path(cases) / n, pathlib.Path(films) / n / "film.mkv") for n in names]
    if len(blocks) % 2:
        blocks.append(np.full_like(blocks[0], 255))
    rows = [np.concatenate(blocks[i:i + 2], 1) for i in range(0, len(blocks), 2)]
    cv2.imwrite(out, np.concatenate(rows)[:-10, :-12], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
