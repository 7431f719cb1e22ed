"""Training clips and held-out cases, drawn on the fly from seeds."""
import pathlib

import numpy as np
import torch

import figure
import motion

FRAMES = 8  # of a training clip: the reference, then seven at steps of one or two
CAPTURED = {"cmu_12_01_walk": (0.06, 1.0), "jesse_dance": (0.0, 0.7), "jumping": (0.0, 1.0), "jumping_jacks": (0.0, 1.0)}  # file: the part trained on
HELD_OUT = ("wave_hello", "dab", "jesse_end", "our_dance")  # never trained on, nor are their figures


def style_of(body, colours):
    """What the image tower reads from a picture [64]: the colours of nineteen parts, and seven measures; about -1 to 1."""
    b = body
    measures = [(b["trunk"] / 28.4 - 1) * 10, (b["shoulder"] / 11.2 - 1) * 5, (b["upper"] / 16.1 - 1) * 8, (b["thigh"] / 22 - 1) * 8, (b["wide"] - 1) * 6,
                (b["head_r"] / 8.0 - 1) * 8, (b["floor"] - 0.79) * 14]
    return np.concatenate([(colours / 127.5 - 1).reshape(-1), measures]).astype(np.float32)


def _frame(motion_, path, body, colours, frame):
    placed = figure.place(body, motion_[frame:frame + 1], path[frame:frame + 1])
    return figure.draw_parts(body, placed, 0), figure.draw_pose(figure.points(placed, 0))


class Motions:
    def __init__(self, folder):
        self.captured = []
        for name, (begin, end) in CAPTURED.items():
            for turn in (-0.5, -0.25, 0.0, 0.25, 0.5):
                m, p = motion.captured(pathlib.Path(folder) / f"{name}.bvh", turn)
                b, e = int(begin * len(m)), int(end * len(m))
                self.captured.append((m[b:e], p[b:e]))

    def sample(self, rng):
        """A motion of 30 frames."""
        if rng.random() < 0.5:
            return motion.random_motion(rng, 30)
        m, p = self.captured[rng.integers(len(self.captured))]
        speed = rng.uniform(0.6, 1.3)
        t = np.arange(0, len(m) - 1, speed)
        i = t.astype(int)
        u = (t - i)[:, None]
        m, p = m[i] * (1 - u[..., None]) + m[i + 1] * u[..., None], p[i] * (1 - u) + p[i + 1] * u
        start = rng.integers(0, len(m) - 30)
        m, p = m[start:start + 30], p[start:start + 30].copy()
        p[:, 0] = (p[:, 0] - p[:, 0].mean()) * min(1.0, 0.35 / max(np.abs(p[:, 0] - p[:, 0].mean()).max(), 1e-6)) + rng.uniform(-0.1, 0.1)
        return m, p

    def clip(self, rng):
        """parts [FRAMES, 256, 256], poses [FRAMES, 128, 128, 3], body, colours"""
        m, p = self.sample(rng)
        body, colours = figure.random_body(rng), figure.random_colours(rng)
        step = int(rng.integers(1, 3))
        start = rng.integers(0, len(m) - (FRAMES - 1) * step)
        frames = [int(rng.integers(len(m)))] + [int(start + step * k) for k in range(FRAMES - 1)]
        if rng.random() < 0.3:
            frames[1:] = frames[:0:-1]
        drawn = [_frame(m, p, body, colours, f) for f in frames]
        return np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn]), body, colours


def held_out(folder, name, frames):
    """(motion, path) of a held-out movement, `frames` long (a short one goes back and forth)."""
    if name == "our_dance":
        return motion.dance(frames)
    if name == "jesse_end":
        m, p = motion.captured(pathlib.Path(folder) / "jesse_dance.bvh")
        cut = int(0.7 * len(m)) + 1
        m, p = m[cut:], p[cut:]
    else:
        m, p = motion.captured(pathlib.Path(folder) / f"{name}.bvh")
        m, p = m[int(0.15 * len(m)):], p[int(0.15 * len(p)):]  # they begin in a T pose
    p = p.copy()
    p[:, 0] -= p[:, 0].mean()
    p[:, 0] *= min(1.0, 0.35 / max(np.abs(p[:, 0]).max(), 1e-6))
    n = len(m)
    index = np.arange(frames) % (2 * n - 2)
    index = np.where(index < n, index, 2 * n - 2 - index)
    return m[index], p[index]


def standing(rng):
    """A calm pose for a reference picture."""
    a = {"r_upper": rng.uniform(0.25, 0.6), "l_upper": rng.uniform(0.25, 0.6), "r_fore": rng.uniform(0, 0.5), "l_fore": rng.uniform(0, 0.5),
         "r_thigh": rng.uniform(0.06, 0.16), "l_thigh": rng.uniform(0.06, 0.16), "lean": rng.uniform(-0.04, 0.04)}
    return motion.from_angles(1, a), np.zeros((1, 2))


def figure_weight(parts):
    """1 for background, 3 for cells of 8x8 pixels that the figure touches: [n, 16, 16]"""
    n = parts.shape[0]
    cells = (parts >= 2).reshape(n, figure.SIZE // 8, 16, figure.SIZE // 8, 16).any((2, 4))
    return torch.from_numpy(1.0 + 2.0 * cells.astype(np.float32))


def patches(pictures):
    """[n, H, W, 3] uint8 -> [n, h, w, 192] float in -1..1"""
    n, h, w, _ = pictures.shape
    x = torch.from_numpy(np.ascontiguousarray(pictures)).view(n, h // 8, 8, w // 8, 8, 3).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // 8, w // 8, 192).float() / 127.5 - 1


class Encoder:
    """The VAE's encoder as what it is: one matrix a patch (vae.py makes the file)."""

    def __init__(self, path):
        f = np.load(path)
        self.matrix, self.bias = torch.from_numpy(f["matrix"]), torch.from_numpy(f["bias"])
        self.scaling = float(f["scaling"])

    def __call__(self, pictures):
        """[n, H, W, 3] uint8 -> latents [n, h, w, 16], not scaled"""
        return patches(pictures) @ self.matrix + self.bias
