"""Movements of a flat figure: captured ones (BVH files), random ones, and a dance of our own.

A motion is an array [frames, BONES, 2] of bone vectors in the picture plane (x right, y down), each at most 1 long: a bone's direction times its foreshortening.
A figure with bone lengths of its own follows them, so that one motion serves every figure. Fifteen frames are a second.
"""
import math
import re

import numpy as np

BONES = ("trunk", "head", "r_shoulder", "r_upper", "r_fore", "l_shoulder", "l_upper", "l_fore",
         "r_hip", "r_thigh", "r_shin", "l_hip", "l_thigh", "l_shin", "face")  # face: where the nose points, 0 = towards us
FPS = 15.0

_NAMES = {  # joints of the skeletons found in the wild
    "pelvis": ("Hips",), "neck": ("Neck", "lowerneck"), "head": ("Head",),
    "r_arm": ("RightArm", "RightShoulder"), "r_elbow": ("RightForeArm", "RightElbow"), "r_wrist": ("RightHand", "RightWrist"),
    "l_arm": ("LeftArm", "LeftShoulder"), "l_elbow": ("LeftForeArm", "LeftElbow"), "l_wrist": ("LeftHand", "LeftWrist"),
    "r_thigh": ("RightUpLeg", "RightHip"), "r_knee": ("RightLeg", "RightKnee"), "r_ankle": ("RightFoot", "RightAnkle"),
    "l_thigh": ("LeftUpLeg", "LeftHip"), "l_knee": ("LeftLeg", "LeftKnee"), "l_ankle": ("LeftFoot", "LeftAnkle"),
}


def _rotation(axis, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    o, l = np.zeros_like(c), np.ones_like(c)
    rows = {"X": [[l, o, o], [o, c, -s], [o, s, c]], "Y": [[c, o, s], [o, l, o], [-s, o, c]], "Z": [[c, -s, o], [s, c, o], [o, o, l]]}[axis]
    return np.stack([np.stack(r, -1) for r in rows], -2)


def read_bvh(path):
    """{joint: [frames, 3]} world positions at FPS frames a second, y up."""
    text = open(path).read()
    head, data = text.split("MOTION")
    tokens = head.split()
    names, parents, offsets, channels, stack, i = [], [], [], [], [], 0
    while i < len(tokens):
        word = tokens[i]
        if word in ("ROOT", "JOINT", "End"):
            names.append(tokens[i + 1] if word != "End" else "end")
            parents.append(stack[-1] if stack else -1)
            offsets.append(None)
            channels.append([])
            i += 1
        elif word == "{":
            stack.append(len(names) - 1)
        elif word == "}":
            stack.pop()
        elif word == "OFFSET":
            offsets[stack[-1]] = np.array([float(v) for v in tokens[i + 1:i + 4]])
        elif word == "CHANNELS":
            channels[stack[-1]] = tokens[i + 2:i + 2 + int(tokens[i + 1])]
        i += 1
    step = float(re.search(r"Frame Time:\s*([0-9.]+)", data).group(1))
    rows = np.array([[float(v) for v in line.split()] for line in data.split("\n")[3:] if line.strip()])
    take = np.arange(0, len(rows), 1 / (FPS * step))
    low = np.minimum(take.astype(int), len(rows) - 1)
    rows = rows[low]  # the captures are 30 to 120 Hz; the nearest earlier row will do
    world, turn, at = [], [], 0
    for n, parent in enumerate(parents):
        move, rot = np.broadcast_to(offsets[n], (len(rows), 3)).copy(), np.broadcast_to(np.eye(3), (len(rows), 3, 3))
        for c in channels[n]:
            value = rows[:, at]
            at += 1
            if c.endswith("position"):
                move[:, "XYZ".index(c[0])] = value
            else:
                rot = rot @ _rotation(c[0], value)
        if parent < 0:
            world.append(move), turn.append(rot)
        else:
            world.append(world[parent] + np.einsum("fij,fj->fi", turn[parent], move)), turn.append(turn[parent] @ rot)
    return {n: w for n, w in zip(names, world)}


def _pick(joints):
    found = {}
    for ours, theirs in _NAMES.items():
        options = theirs if "LeftUpLeg" in joints else theirs[::-1]
        found[ours] = joints[next(n for n in options if n in joints)]
    return found


def captured(path, turn=0.0):
    """The motion in a BVH file, facing us on the whole and then turned by `turn` radians; with the hips' path [frames, 2] in leg lengths."""
    j = _pick(read_bvh(path))
    if abs((j["neck"] - j["pelvis"]).mean(0)[2]) > abs((j["neck"] - j["pelvis"]).mean(0)[1]):
        j = {n: p[:, [1, 2, 0]] for n, p in j.items()}  # z is up in this file
    across = j["l_thigh"] - j["r_thigh"]
    across = across / np.linalg.norm(across, axis=1, keepdims=True)
    mean = across.mean(0)
    angle = math.atan2(mean[2], mean[0]) + turn  # turns the hips' mean direction into the picture plane
    c, s = math.cos(angle), math.sin(angle)
    spin = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    j = {n: p @ spin.T for n, p in j.items()}
    length = lambda a, b: np.linalg.norm(j[a] - j[b], axis=1).mean()
    flat = lambda v: np.stack([v[:, 0], -v[:, 1]], -1)
    bone = lambda a, b: flat((j[b] - j[a]) / length(a, b))
    leg = length("l_thigh", "l_knee") + length("l_knee", "l_ankle")
    # The bases of arms and legs hang on neck and pelvis at various heights in various skeletons; only their sideways part counts.
    side = {n: (j[n] - j[o]) / length(n, o) for n, o in (("r_arm", "l_arm"), ("l_arm", "r_arm"), ("r_thigh", "l_thigh"), ("l_thigh", "r_thigh"))}
    middle = 0.5 * (j["r_arm"] + j["l_arm"])
    root = 0.5 * (j["r_thigh"] + j["l_thigh"])
    trunk = (middle - root) / np.linalg.norm(middle - root, axis=1).mean()
    head = (j["head"] - j["neck"]) / length("neck", "head")
    chest = np.cross(j["l_arm"] - j["r_arm"], middle - root)  # points out of the chest
    chest /= np.linalg.norm(chest, axis=1, keepdims=True)
    face = np.stack([chest[:, 0], np.zeros(len(chest))], -1)
    motion = np.stack([flat(trunk), flat(head), flat(side["r_arm"]), bone("r_arm", "r_elbow"), bone("r_elbow", "r_wrist"), flat(side["l_arm"]),
                       bone("l_arm", "l_elbow"), bone("l_elbow", "l_wrist"), flat(side["r_thigh"]), bone("r_thigh", "r_knee"), bone("r_knee", "r_ankle"),
                       flat(side["l_thigh"]), bone("l_thigh", "l_knee"), bone("l_knee", "l_ankle"), face], 1)
    hips_path = root / leg
    low = np.minimum(j["r_ankle"][:, 1], j["l_ankle"][:, 1]) / leg
    lift = np.maximum(low - np.median(low), 0)  # how far the lower foot is off the ground
    lift[lift < 0.08] = 0
    norm = np.linalg.norm(motion, axis=-1, keepdims=True)
    motion = motion / np.maximum(norm, 1.0)
    return motion, np.stack([hips_path[:, 0] - hips_path[:, 0].mean(), lift], -1)


def _polar(angle, length=1.0):
    """0 hangs down, positive turns to the picture's right."""
    return np.stack([np.sin(angle) * length, np.cos(angle) * length], -1)


def _wander(rng, frames, low, high, every=(4, 10)):
    """A smooth curve through random values at random times."""
    times, values = [0.0], [rng.uniform(low, high)]
    while times[-1] < frames:
        times.append(times[-1] + rng.integers(*every))
        values.append(rng.uniform(low, high))
    t = np.arange(frames)
    i = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
    a, b = np.array(times)[i], np.array(times)[i + 1]
    u = (t - a) / (b - a)
    u = u * u * (3 - 2 * u)
    return np.array(values)[i] * (1 - u) + np.array(values)[i + 1] * u


def from_angles(frames, a):
    """A motion from angles in radians [frames] by bone name; 0 hangs down, positive lifts a limb outwards, to its own side."""
    zero = np.zeros(frames)
    get = lambda n: np.broadcast_to(a.get(n, 0.0), (frames,)) + zero
    lean, nod, tilt, look = get("lean"), get("nod"), get("tilt"), get("look")
    up = np.stack([np.sin(lean), -np.cos(lean)], -1)
    head = np.stack([np.sin(lean + nod), -np.cos(lean + nod)], -1)
    out = {"trunk": up, "head": head}
    for side, sign in (("r", -1.0), ("l", 1.0)):
        out[side + "_shoulder"] = sign * np.stack([np.cos(lean + tilt), np.sin(lean + tilt)], -1)
        arm = sign * get(side + "_upper")
        fore = arm + sign * get(side + "_fore")
        out[side + "_upper"], out[side + "_fore"] = _polar(arm - lean, get(side + "_upper_short") + 1), _polar(fore - lean, get(side + "_fore_short") + 1)
        out[side + "_hip"] = sign * np.stack([np.cos(0.5 * lean), np.sin(0.5 * lean)], -1)
        thigh = sign * get(side + "_thigh")
        out[side + "_thigh"], out[side + "_shin"] = _polar(thigh, get(side + "_thigh_short") + 1), _polar(thigh + sign * get(side + "_shin"), get(side + "_shin_short") + 1)
    out["face"] = np.stack([look, zero], -1)
    return np.stack([out[b] for b in BONES], 1)


def random_motion(rng, frames):
    """Smooth random joint angles; three in ten jump. Returns the motion and the path of the hips [frames, 2] (x, lift) in leg lengths."""
    w = lambda low, high: _wander(rng, frames, low, high)
    energy = rng.uniform(0.35, 1.0)
    a = {"lean": w(-0.16, 0.16) * energy, "nod": w(-0.15, 0.15), "tilt": w(-0.12, 0.12) * energy, "look": w(-0.5, 0.5)}
    for side in "rl":
        centre = rng.uniform(0.2, 2.4)
        a[side + "_upper"] = np.clip(centre + w(-1.2, 1.2) * energy, -0.35, 3.1)
        a[side + "_fore"] = w(-0.7, 2.2) * energy
        a[side + "_upper_short"], a[side + "_fore_short"] = -w(0, 0.35), -w(0, 0.45)
        a[side + "_thigh"] = 0.06 + np.maximum(w(-0.2, 0.75), -0.05) * energy
        a[side + "_shin"] = -np.maximum(w(-0.4, 0.9), 0) * energy
        a[side + "_thigh_short"], a[side + "_shin_short"] = -np.maximum(w(-0.3, 0.35), 0) * energy, -np.maximum(w(-0.3, 0.3), 0) * energy
    lift = np.zeros(frames)
    if rng.random() < 0.3:
        start = rng.integers(0, max(1, frames - 6))
        for s in range(start, frames, int(rng.integers(9, 16))):
            t = np.arange(frames) - s
            n = rng.integers(5, 8)
            lift += np.where((t >= 0) & (t <= n), rng.uniform(0.1, 0.25) * np.sin(np.pi * np.clip(t / n, 0, 1)), 0)
    return from_angles(frames, a), np.stack([w(-0.25, 0.25) * energy, lift], -1)


def dance(frames):
    """The dance of the demo: our own, written as curves."""
    t = np.arange(frames) / FPS
    beat = 2 * np.pi * t / 1.6
    s, c = np.sin(beat), np.cos(beat)
    phase = np.clip(np.sin(2 * np.pi * t / 6.4) * 2.5, -1, 1) * 0.5 + 0.5  # between two figures of the dance
    a = {
        "lean": 0.14 * s, "nod": -0.10 * s, "tilt": 0.08 * c, "look": 0.35 * s,
        "r_upper": phase * (2.0 + 0.7 * s) + (1 - phase) * (0.9 + 0.5 * c), "r_fore": phase * (0.5 + 0.5 * c) + (1 - phase) * (1.5 + 0.6 * s),
        "l_upper": phase * (2.0 - 0.7 * s) + (1 - phase) * (0.9 - 0.5 * c), "l_fore": phase * (0.5 - 0.5 * c) + (1 - phase) * (1.5 - 0.6 * s),
        "r_thigh": 0.16 + 0.50 * np.maximum(s, 0), "r_shin": -0.80 * np.maximum(s, 0), "r_shin_short": -0.18 * np.maximum(s, 0),
        "l_thigh": 0.16 + 0.50 * np.maximum(-s, 0), "l_shin": -0.80 * np.maximum(-s, 0), "l_shin_short": -0.18 * np.maximum(-s, 0),
    }
    return from_angles(frames, a), np.stack([0.16 * s, np.zeros(frames)], -1)
