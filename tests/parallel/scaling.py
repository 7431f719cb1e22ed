#!/usr/bin/env python3
"""What two ranks gain on a machine of two cores: one job on 2 ranks, against two one-rank jobs run at the same time (what two cores really give).

  scaling.py WEFT LAUNCHER MODEL EXAMPLE [--steps N] [--repeats N]

WEFT: the program; LAUNCHER: launch/run; MODEL: folder of the tiny golden model; EXAMPLE: folder with person.png and pose/ (weft make-model --tiny).
Efficiency = seconds of a one-rank job beside another / (2 x seconds on 2 ranks), of the phase "denoise" and of the whole process, medians over the repeats;
held against 0.95 of the load bound and 0.90. Exit code 1 where one is missed.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

POSES = 60


def write_job(folder, args):
    (folder / "pose").mkdir(parents=True)
    poses = sorted((args.example / "pose").iterdir())
    for frame in range(POSES):
        (folder / "pose" / f"{frame:05}.png").symlink_to(poses[frame % len(poses)])
    (folder / "config.toml").write_text(
        f'[model]\npath = "{args.model}"\n[input]\nimage = "{args.example}/person.png"\npose = "pose"\n[video]\nwidth = 128\nheight = 128\n'
        f"[sampling]\nsteps = {args.steps}\n[slices]\nlength = 16\noverlap = 6\n[device]\nkind = \"cpu\"\n"
    )


def start(folder, words):
    for name in ("out.h5", "out.mp4", "events.jsonl"):
        (folder / name).unlink(missing_ok=True)
    log = open(folder / "log", "w", encoding="utf-8")
    return subprocess.Popen([*words, "config.toml", "--events", "events.jsonl"], cwd=folder, stdout=log, stderr=log), time.monotonic()


def finish(running, folder):
    process, begin = running
    if process.wait() != 0:
        sys.exit(f"failed: {(folder / 'log').read_text()}")
    wall = time.monotonic() - begin
    events = [json.loads(line) for line in open(folder / "events.jsonl", encoding="utf-8")]
    phases = {e["name"]: e["seconds"] for e in events if e["event"] == "phase_end"}
    return {"denoise": phases["denoise"], "whole": wall, "decode": phases["decode"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("weft", "launcher", "model", "example"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", WEFT_PROGRAM=str(args.weft))
    with tempfile.TemporaryDirectory() as scratch:
        a, b, both = (pathlib.Path(scratch) / name for name in ("a", "b", "both"))
        for folder in (a, b, both):
            write_job(folder, args)
        side_by_side, on_two = [], []
        for _ in range(args.repeats):  # in turn, so that a drift of the machine meets both
            pair = [(start(folder, [args.weft, "generate"]), folder) for folder in (a, b)]
            ended = [finish(running, folder) for running, folder in pair]
            side_by_side.append({key: statistics.mean(one[key] for one in ended) for key in ended[0]})
            on_two.append(finish(start(both, [args.launcher, "-n", "2"]), both))
            print("  ".join(f"{key}: {side_by_side[-1][key]:.2f} s beside another, {on_two[-1][key]:.2f} s on 2 ranks" for key in ended[0]), flush=True)
    good = True
    for key, wanted in (("denoise", 0.95), ("whole", 0.90)):
        one = statistics.median(run[key] for run in side_by_side)
        two = statistics.median(run[key] for run in on_two)
        efficiency = one / (2 * two)
        good &= efficiency >= wanted
        print(f"{key}: {one:.2f} s / (2 x {two:.2f} s) = {efficiency:.3f} of the load bound 1.000, wanted {wanted:.2f}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
