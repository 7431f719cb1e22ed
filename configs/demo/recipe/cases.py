"""Draws cases to judge: a reference picture, a pose clip, and what the figure looks like when it is drawn in those poses.

    python cases.py FOLDER --motion DIR              cases for table.py: eight figures, four movements
    python cases.py ../../../tests/quality/case --what test     the case of launch/test
    python cases.py .. --what demo                   the demo's picture and dance
"""
import argparse
import json
import pathlib
import subprocess

import cv2
import numpy as np

import clips
import figure

FIRST_FIGURE = 90000  # seeds of figures that training never draws: it seeds its generators with lists
TEST_FIGURE = 90049
DEMO_FIGURE = 90020
OTHERS = range(90060, 90066)


def write_png(path, picture):
    """RGB, or one channel."""
    if not cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise SystemExit(f"{path}: cannot be written")


def draw_person(seed, dress=None):
    """A figure by its seed, standing: (body, colours, picture, its pose map). `dress`: the seed of other colours."""
    rng = np.random.default_rng(seed)
    body, colours = figure.random_body(rng), figure.random_colours(rng)  # drawn in any case, so that all stand alike
    colours = colours if dress is None else figure.random_colours(np.random.default_rng(dress))
    calm = figure.place(body, *clips.standing(rng))
    return body, colours, figure.paint(figure.draw_parts(body, calm, 0), colours), figure.draw_pose(figure.points(calm, 0))


def write_case(folder, motion_folder, seed, name, frames, poses=None):
    """One figure and one held-out movement; `poses` of them if that is more than `frames`."""
    for part in ("pose", "truth", "parts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    body, colours, picture, pose = draw_person(seed)
    write_png(folder / "image.png", picture)
    write_png(folder / "image_pose.png", pose)
    empty = np.full((2 * figure.SIZE,) * 2, figure.P["wall"], np.uint8)
    empty[int(body["floor"] * 2 * figure.SIZE):] = figure.P["floor"]
    write_png(folder / "background.png", figure.paint(empty, colours))
    placed = figure.place(body, *clips.held_out(motion_folder, name, poses or frames))
    for frame in range(poses or frames):
        file = f"{frame + 1:05d}.png"
        write_png(folder / "pose" / file, figure.draw_pose(figure.points(placed, frame)))
        if frame < frames:
            parts = figure.draw_parts(body, placed, frame)
            write_png(folder / "truth" / file, figure.paint(parts, colours))
            write_png(folder / "parts" / file, figure.labels(parts, figure.JUDGED))
    (folder / "parts.json").write_text(json.dumps(
        {"parts": [{"name": n, "label": i, "figure": n not in ("wall", "floor")} for i, n in enumerate(figure.JUDGED)], "mixed": 255}, indent=2) + "\n")


def write_demo(folder, seed, frames):
    """The demo's inputs: person.png, person_pose.png, dance.mkv (lossless), and people/: others who stand alike."""
    body, _, picture, pose = draw_person(seed)
    write_png(folder / "person.png", picture)
    (folder / "people").mkdir(exist_ok=True)
    for k, dress in enumerate(OTHERS):
        write_png(folder / "people" / f"{k + 1}.png", draw_person(seed, dress)[2])
    write_png(folder / "person_pose.png", pose)
    placed = figure.place(body, *clips.held_out(None, "our_dance", frames))
    raw = b"".join(figure.draw_pose(figure.points(placed, f)).tobytes() for f in range(frames))
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{figure.SIZE}x{figure.SIZE}", "-r", "15", "-i", "-", "-c:v", "ffv1",
                    "-pix_fmt", "bgr0", "-fflags", "+bitexact", "-flags:v", "+bitexact", str(folder / "dance.mkv")], input=raw, check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--motion", help="folder of the BVH files")
    parser.add_argument("--what", choices=("table", "test", "demo"), default="table")
    parser.add_argument("--figures", type=int, default=8)
    args = parser.parse_args()
    folder = pathlib.Path(args.folder)
    if args.what == "table" and not args.motion:
        parser.error("--motion is needed for the table's cases")
    if args.what == "demo":
        write_demo(folder, DEMO_FIGURE, 96)
    elif args.what == "test":
        write_case(folder, None, TEST_FIGURE, "our_dance", 24, 32)
    else:
        for k in range(args.figures):
            for name in clips.HELD_OUT:
                write_case(folder / f"figure{k + 1}-{name}", args.motion, FIRST_FIGURE + k, name, 60)


if __name__ == "__main__":
    main()
