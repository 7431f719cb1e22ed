"""A person of capsules and discs, the pose map that belongs to it, and which part covers each pixel.

Everything is drawn at twice the size as an image of part numbers; colours come afterwards by a table, so one drawing serves any colours.
"""
import colorsys

import cv2
import numpy as np

from motion import BONES

SIZE = 128  # of a frame, pixels
STICK, JOINT = 2.0, 2.5  # pose maps: half the limbs' thickness and the joints' radius, in pixels of the frame
_SS = 2
_SHIFT = 4  # binary digits behind the point in OpenCV's coordinates

PARTS = ["wall", "floor", "hair", "face", "neck", "torso", "hips",
         "r_thigh", "r_shin", "r_shoe", "r_upper", "r_fore", "r_hand", "l_thigh", "l_shin", "l_shoe", "l_upper", "l_fore", "l_hand"]
P = {n: i for i, n in enumerate(PARTS)}
# What the judge calls a body part: those a person would name.
JUDGED = {"wall": ["wall"], "floor": ["floor"], "hair": ["hair"], "face": ["face", "neck"], "torso": ["torso"], "arms": ["r_upper", "r_fore", "l_upper", "l_fore"],
          "hands": ["r_hand", "l_hand"], "legs": ["hips", "r_thigh", "r_shin", "l_thigh", "l_shin"], "shoes": ["r_shoe", "l_shoe"]}

LIMBS = [(1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)]
COLOURS = [(255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255),
           (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)]


def random_body(rng):
    """Lengths in pixels of the frame."""
    height = rng.uniform(66, 76)  # leg and trunk
    arms, legs, wide = rng.uniform(0.92, 1.1), rng.uniform(0.93, 1.07), rng.uniform(0.9, 1.12)
    return {"trunk": height * 0.40, "head": height * 0.165 * rng.uniform(0.95, 1.05), "shoulder": height * 0.155 * rng.uniform(0.9, 1.15), "hip": height * 0.085,
            "upper": height * 0.225 * arms, "fore": height * 0.205 * arms, "thigh": height * 0.31 * legs, "shin": height * 0.29 * legs,
            "head_r": height * 0.112 * rng.uniform(0.92, 1.1), "wide": wide * height / 71, "floor": rng.uniform(0.72, 0.86), "ground": SIZE * rng.uniform(0.90, 0.94)}


def _saturated(rng):
    if rng.random() < 0.2:
        return np.full(3, rng.uniform(0.12, 0.95)) * 255
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1.0), rng.uniform(0.35, 1.0))) * 255


SKIN = [(255, 224, 196), (241, 194, 155), (224, 172, 125), (198, 134, 90), (141, 85, 54), (92, 58, 40)]
HAIR = [(30, 24, 22), (62, 40, 28), (110, 70, 40), (190, 140, 70), (230, 200, 120), (150, 150, 155)]


def _far(a, b, least):
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).sum() >= least


def random_colours(rng):
    """RGB of each of PARTS [19, 3], 0..255. What touches differs visibly: nothing hides in the background, the torso is not the trousers' colour."""
    wall = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.02, 0.25), rng.uniform(0.82, 1.0))) * 255
    floor = wall * rng.uniform(0.72, 0.9) if rng.random() < 0.75 else wall

    def pick(make, *others):
        while True:
            colour = np.clip(np.asarray(make(), float), 0, 255)
            if _far(colour, wall, 130) and _far(colour, floor, 110) and all(_far(colour, o, 90) for o in others):
                return colour

    skin = pick(lambda: np.array(SKIN[rng.integers(6)]) * rng.uniform(0.92, 1.04))
    shirt = pick(lambda: _saturated(rng), skin)
    trousers = pick(lambda: _saturated(rng), shirt)
    shoes = pick(lambda: _saturated(rng), trousers)
    hair = pick(lambda: _saturated(rng) if rng.random() < 0.3 else np.array(HAIR[rng.integers(6)]) * rng.uniform(0.85, 1.1), skin)
    sleeve = shirt if rng.random() < 0.5 else skin
    shin = trousers if rng.random() < 0.7 else skin
    far, near = rng.uniform(0.72, 0.82), rng.uniform(0.92, 1.0)
    table = {"wall": wall, "floor": floor, "hair": hair, "face": skin, "neck": skin * 0.88, "torso": shirt, "hips": trousers * 0.95}
    for side, shade in (("r", near), ("l", far)):
        for name, colour in (("thigh", trousers), ("shin", shin), ("shoe", shoes), ("upper", shirt), ("fore", sleeve), ("hand", skin)):
            table[f"{side}_{name}"] = colour * (shade if name in ("thigh", "shin", "shoe") else 0.5 + 0.5 * shade)
    return np.clip(np.stack([table[n] for n in PARTS]), 0, 255).astype(np.float32)


def place(body, motion, path):
    """The eighteen points of OpenPose and a few more, in pixels of the frame: {name: [frames, 2]}."""
    v = {b: motion[:, i] for i, b in enumerate(BONES)}
    leg = body["thigh"] + body["shin"]
    p = {"pelvis": np.zeros_like(v["trunk"])}
    p["neck"] = p["pelvis"] + v["trunk"] * body["trunk"]
    p["head"] = p["neck"] + v["head"] * body["head"]
    for s in "rl":
        p[s + "_arm"] = p["neck"] + v[s + "_shoulder"] * body["shoulder"]
        p[s + "_elbow"] = p[s + "_arm"] + v[s + "_upper"] * body["upper"]
        p[s + "_wrist"] = p[s + "_elbow"] + v[s + "_fore"] * body["fore"]
        p[s + "_thigh"] = p["pelvis"] + v[s + "_hip"] * body["hip"]
        p[s + "_knee"] = p[s + "_thigh"] + v[s + "_thigh"] * body["thigh"]
        p[s + "_ankle"] = p[s + "_knee"] + v[s + "_shin"] * body["shin"]
    low = np.maximum(p["r_ankle"][:, 1], p["l_ankle"][:, 1])
    move = np.stack([SIZE / 2 + path[:, 0] * leg, body["ground"] - low - path[:, 1] * leg], -1)
    p = {n: q + move for n, q in p.items()}
    # The head looks to the side that the face bone points to.
    up = v["head"] / np.maximum(np.linalg.norm(v["head"], axis=1, keepdims=True), 1e-6)
    right = np.stack([-up[:, 1], up[:, 0]], -1)
    look = v["face"][:, :1]
    r = body["head_r"]
    p["nose"] = p["head"] + right * look * r * 0.7 - up * r * 0.12
    for s, sign in (("r", -1), ("l", 1)):
        p[s + "_eye"] = p["head"] + right * (look * 0.55 + sign * 0.38) * r + up * r * 0.18
        p[s + "_ear"] = p["head"] + right * (look * 0.05 + sign * 0.92) * r
    return p


_ORDER = ["nose", "neck", "r_arm", "r_elbow", "r_wrist", "l_arm", "l_elbow", "l_wrist", "r_thigh", "r_knee", "r_ankle", "l_thigh", "l_knee", "l_ankle",
          "r_eye", "l_eye", "r_ear", "l_ear"]


def points(placed, frame):
    """OpenPose's eighteen points [18, 2]."""
    return np.stack([placed[n][frame] for n in _ORDER])


def _fixed(p):
    return np.round((np.asarray(p) * _SS - 0.5) * (1 << _SHIFT)).astype(np.int32)


def _disc(image, centre, radius, colour):
    c = _fixed(centre)
    cv2.circle(image, (int(c[0]), int(c[1])), max(1, int(round(radius * _SS * (1 << _SHIFT)))), colour, -1, cv2.LINE_8, _SHIFT)


def _capsule(image, a, b, ra, rb, colour):
    """A limb from a to b with the radii ra and rb."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    d = b - a
    n = np.hypot(*d)
    _disc(image, a, ra, colour)
    _disc(image, b, rb, colour)
    if n > 1e-3:
        across = np.array([-d[1], d[0]]) / n
        cv2.fillConvexPoly(image, _fixed([a + across * ra, b + across * rb, b - across * rb, a - across * ra]), colour, cv2.LINE_8, _SHIFT)


def draw_parts(body, placed, frame):
    """Part numbers [2 SIZE, 2 SIZE] uint8."""
    image = np.full((SIZE * _SS, SIZE * _SS), P["wall"], np.uint8)
    image[int(body["floor"] * SIZE * _SS):] = P["floor"]
    p = {n: q[frame] for n, q in placed.items()}
    w = body["wide"]
    for s in "lr":  # the figure's left leg is the far one
        foot = p[s + "_ankle"]
        _capsule(image, p[s + "_thigh"], p[s + "_knee"], 5.2 * w, 4.2 * w, P[s + "_thigh"])
        _capsule(image, p[s + "_knee"], foot, 4.1 * w, 3.1 * w, P[s + "_shin"])
        out_x = -1.0 if s == "r" else 1.0
        _capsule(image, foot + np.array([0.0, 1.2 * w]), foot + np.array([out_x * 4.2 * w, 2.2 * w]), 3.3 * w, 2.6 * w, P[s + "_shoe"])
    trunk = p["neck"] - p["pelvis"]
    _capsule(image, p["r_thigh"] + 0.04 * trunk, p["l_thigh"] + 0.04 * trunk, 5.6 * w, 5.6 * w, P["hips"])
    head = p["head"]
    up = head - p["neck"]
    up = up / max(np.hypot(*up), 1e-6)
    _disc(image, head + up * body["head_r"] * 0.28, body["head_r"] * 1.12, P["hair"])
    _capsule(image, p["neck"] + 0.05 * trunk, head, 2.9 * w, 2.9 * w, P["neck"])
    corners = [p["r_arm"], p["l_arm"], p["l_thigh"] + 0.16 * trunk + (p["l_arm"] - p["r_arm"]) * 0.03, p["r_thigh"] + 0.16 * trunk - (p["l_arm"] - p["r_arm"]) * 0.03]
    cv2.fillConvexPoly(image, cv2.convexHull(_fixed(corners)), P["torso"], cv2.LINE_8, _SHIFT)
    for a, b, ra, rb in ((0, 1, 4.4, 4.4), (1, 2, 4.4, 4.6), (2, 3, 4.6, 4.6), (3, 0, 4.6, 4.4)):
        _capsule(image, corners[a], corners[b], ra * w, rb * w, P["torso"])
    _disc(image, p["nose"] * 0.5 + head * 0.5 - up * body["head_r"] * 0.12, body["head_r"] * 0.86, P["face"])
    for s in "lr":
        hand = p[s + "_wrist"] + (p[s + "_wrist"] - p[s + "_elbow"]) * (2.0 * w / max(body["fore"], 1))
        _disc(image, hand, 3.5 * w, P[s + "_hand"])
        _capsule(image, p[s + "_elbow"], p[s + "_wrist"], 3.4 * w, 2.7 * w, P[s + "_fore"])
        _capsule(image, p[s + "_arm"], p[s + "_elbow"], 4.0 * w, 3.5 * w, P[s + "_upper"])
    return image


def paint(parts, colours):
    """[SIZE, SIZE, 3] uint8: the four subpixels' mean."""
    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(colours), 0] = np.round(colours)
    picture = cv2.LUT(cv2.merge([parts] * 3), table)
    return cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def draw_pose(pts):
    """The pose map [SIZE, SIZE, 3] uint8 as the published drawing stores it: limbs at 60 %, joints, channels reversed."""
    image = np.zeros((SIZE * _SS, SIZE * _SS, 3), np.uint8)
    for (a, b), colour in zip(LIMBS, COLOURS):
        middle, d = (pts[a] + pts[b]) / 2, pts[a] - pts[b]
        polygon = _ellipse(middle, np.hypot(*d) / 2, STICK, np.arctan2(d[1], d[0]))
        cv2.fillConvexPoly(image, _fixed(polygon), [int(v * 0.6) for v in colour[::-1]], cv2.LINE_8, _SHIFT)
    for point, colour in zip(pts, COLOURS):
        _disc(image, point, JOINT, colour[::-1])
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


_CIRCLE = np.stack([np.cos(np.arange(0, 360, 12) * np.pi / 180), np.sin(np.arange(0, 360, 12) * np.pi / 180)], -1)


def _ellipse(centre, long, short, angle):
    c, s = np.cos(angle), np.sin(angle)
    local = _CIRCLE * [max(long, 0.5), short]
    return centre + np.stack([local[:, 0] * c - local[:, 1] * s, local[:, 0] * s + local[:, 1] * c], -1)


def labels(parts, names):
    """Judged label of each pixel [SIZE, SIZE] uint8; 255 where two parts meet. `names` as JUDGED."""
    table = np.zeros(len(PARTS), np.uint8)
    for label, members in enumerate(names.values()):
        for m in members:
            table[P[m]] = label
    quad = table[parts].reshape(SIZE, _SS, SIZE, _SS).transpose(0, 2, 1, 3).reshape(SIZE, SIZE, _SS * _SS)
    return np.where((quad == quad[..., :1]).all(-1), quad[..., 0], 255).astype(np.uint8)
