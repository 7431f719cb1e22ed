"""Judges a model on cases (cases.py): runs weft on each, compares with the drawn truth, prints a table and writes it as JSON.

    python table.py CASES --build ../../../build/default [--config ../config.toml] [--model FOLDER] [--only REGEX] [--frames N] [--jobs 2] [--keep FOLDER] [--json FILE] [--set KEY=VALUE ...]
"""
import argparse
import concurrent.futures
import json
import pathlib
import re
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def seam(text, what):
    found = re.search(rf"^{what}\s+seams ([0-9.]+)", text, re.M)
    return float(found.group(1)) if found else None


def judge(args, case):
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(args.keep) / case.name if args.keep else pathlib.Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        film, run_file = out / "film.mkv", out / "film.h5"
        sets = {"input.image": case / "image.png", "input.image_pose": case / "image_pose.png", "input.pose": case / "pose", "output.video": film, "output.run_file": run_file}
        if args.frames:
            sets["input.frames"] = args.frames
        if args.model:
            sets["model.path"] = pathlib.Path(args.model).resolve()
        command = [f"{args.build}/src/weft", "generate", args.config, "--restart"]
        for key, value in sets.items():
            command += ["--set", f"{key}={value}"]
        for one in args.set:
            command += ["--set", one]
        run(command)
        seams = run([f"{args.build}/src/weft", "inspect", "--seams", run_file])
        slices = re.search(r"slices\s+\d+ of (\d+) frames, overlap (\d+)", seams)  # none where the clip is one slice
        slices = ["--slices", ",".join(slices.groups())] if slices else []
        verdict = json.loads(run([f"{args.build}/tests/weft_judge", film, case, "--json"] + slices + (["--frames", args.frames] if args.frames else [])))
        verdict["seam_latents"], verdict["seam_pixels"] = seam(seams, "latents"), seam(seams, "pixels")
        return {"case": case.name, **verdict}


COLUMNS = [("overlap", "IoU", max), ("colour", "colour", min), ("colour_background", "background colour", min), ("flicker", "flicker", min), ("seam", "seam", min),
           ("seam_pixels", "seam, pixels", min), ("seam_latents", "seam, latents", min), ("psnr", "PSNR, dB", max)]


def print_row(name, rows, pick):
    """`pick` takes the values of a column and its better end (min, max)."""
    cells = []
    for key, _, best in COLUMNS:
        values = [r[key] for r in rows if r.get(key) is not None]
        cells.append("-" if not values else f"{pick(values, best):.4f}" if pick(values, best) < 0.1 else f"{pick(values, best):.3f}")
    print(f"| {name} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases")
    parser.add_argument("--build", default=HERE.parents[2] / "build/default")
    parser.add_argument("--config", default=HERE.parent / "config.toml")
    parser.add_argument("--model")
    parser.add_argument("--only", default="")
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", help="folder for the films")
    parser.add_argument("--json")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    cases = sorted(c for c in pathlib.Path(args.cases).resolve().iterdir() if (c / "parts.json").exists() and re.search(args.only, c.name))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda c: judge(args, c), cases))
    print("| case | " + " | ".join(t for _, t, _ in COLUMNS) + " |\n|---" + "|---" * len(COLUMNS) + "|")
    for row in rows:
        print_row(row["case"], [row], lambda values, _: values[0])
    for movement in sorted({row["case"].partition("-")[2] for row in rows}):
        print_row(f"mean of {movement}", [r for r in rows if r["case"].endswith("-" + movement)], lambda values, _: statistics.mean(values))
    print_row("mean", rows, lambda values, _: statistics.mean(values))
    print_row("worst film", rows, lambda values, best: min(values) if best is max else max(values))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
