"""The image tower (CLIP's vision model, small): reads a figure's colours and measures from one picture. Its token is clips.style_of.

    python clip_tower.py WORK --motion DIR --minutes 12 [--from CHECKPOINT]
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import clips
import figure
from layers import LayerNorm, attend, linear

CONFIG = dict(hidden_size=96, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4, patch_size=16, image_size=224, projection_dim=64)
_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
_DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


class _Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(c, c) for _ in range(4))

    def forward(self, x):
        n, l, c = x.shape
        q, k, v = (linear(x, p).view(n, l, CONFIG["num_attention_heads"], -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        return linear(attend(q, k, v).transpose(1, 2).reshape(n, l, c), self.out_proj)


class _Mlp(nn.Module):
    def __init__(self, c, m):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c, m), nn.Linear(m, c)

    def forward(self, x):
        return linear(F.gelu(linear(x, self.fc1)), self.fc2)


class _Layer(nn.Module):
    def __init__(self, c, m):
        super().__init__()
        self.self_attn, self.layer_norm1, self.mlp, self.layer_norm2 = _Attention(c), LayerNorm(c), _Mlp(c, m), LayerNorm(c)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class _Embeddings(nn.Module):
    def __init__(self, c, patch, count):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(c) * 0.02)
        self.patch_embedding = nn.Conv2d(3, c, patch, patch, bias=False)
        self.position_embedding = nn.Embedding(count, c)
        self.position_embedding.weight.data *= 0.1


class _Vision(nn.Module):
    def __init__(self, c, m, layers, patch, image):
        super().__init__()
        self.embeddings = _Embeddings(c, patch, (image // patch) ** 2 + 1)
        self.pre_layrnorm = LayerNorm(c)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList([_Layer(c, m) for _ in range(layers)])})
        self.post_layernorm = LayerNorm(c)


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        c = CONFIG
        self.vision_model = _Vision(c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"], c["patch_size"], c["image_size"])
        self.visual_projection = nn.Linear(c["hidden_size"], c["projection_dim"], bias=False)

    def forward(self, pixels):
        """[n, 3, 224, 224] -> [n, 64]"""
        v = self.vision_model
        n, c, p = len(pixels), CONFIG["hidden_size"], CONFIG["patch_size"]
        g = CONFIG["image_size"] // p
        tiles = pixels.view(n, 3, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, -1)
        x = F.linear(tiles, v.embeddings.patch_embedding.weight.flatten(1).to(tiles.dtype))
        x = torch.cat([v.embeddings.class_embedding.to(x.dtype).expand(n, 1, c), x], 1) + v.embeddings.position_embedding.weight.to(x.dtype)
        x = v.pre_layrnorm(x)
        for layer in v.encoder["layers"]:
            x = layer(x)
        return linear(v.post_layernorm(x[:, 0]).float(), self.visual_projection)


def pixels(pictures):
    """[n, H, W, 3] uint8 -> what the pipeline feeds the tower (models/mimicmotion.md section 4)."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = F.interpolate(x, (CONFIG["image_size"],) * 2, mode="bicubic", align_corners=True)
    return ((x + 1) / 2 - _MEAN) / _DEVIATION


def load(path):
    tower = Tower()
    tower.load_state_dict(torch.load(path, weights_only=False)["average"])
    return tower.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--motion", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--from", dest="start")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    tower, motions, done = Tower(), clips.Motions(args.motion), 0
    params = list(tower.parameters())
    average = [p.data.clone() for p in params]
    if args.start:
        state = torch.load(args.start, weights_only=False)
        tower.load_state_dict(state["now"])
        average, done = [state["average"][n].clone() for n, _ in tower.named_parameters()], state["steps"]
    opt = torch.optim.AdamW(params, lr=args.rate, betas=(0.9, 0.98), weight_decay=1e-3)
    rng, first = np.random.default_rng([args.seed, done]), done
    weight = torch.ones(64)
    weight[57:] = 0.3
    start, errors, saved, logged = time.time(), [], time.time(), time.time()

    def save():
        names = [n for n, _ in tower.named_parameters()]
        torch.save({"now": tower.state_dict(), "average": dict(zip(names, average)), "steps": done}, f"{args.work}/tower.pt.part")
        os.replace(f"{args.work}/tower.pt.part", f"{args.work}/tower.pt")

    while True:
        u = (time.time() - start) / 60 / args.minutes
        if u >= 1:
            break
        for g in opt.param_groups:
            g["lr"] = args.rate * min(1.0, (done - first + 1) / 100) * (1 if u < 0.4 else 0.51 + 0.49 * math.cos(math.pi * (u - 0.4) / 0.6))
        pictures, styles = [], []
        for _ in range(32):
            m, p = motions.sample(rng) if rng.random() < 0.8 else clips.standing(rng)
            f = int(rng.integers(len(m)))
            body, colours = figure.random_body(rng), figure.random_colours(rng)
            pictures.append(figure.paint(figure.draw_parts(body, figure.place(body, m[f:f + 1], p[f:f + 1]), 0), colours))
            styles.append(clips.style_of(body, colours))
        error = tower(pixels(np.stack(pictures)).bfloat16()) - torch.from_numpy(np.stack(styles))
        loss = (error.pow(2) * weight).mean()
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        done += 1
        keep = min(0.998, 1 - 10 / (10 + done))
        torch._foreach_mul_(average, keep)
        torch._foreach_add_(average, [p.data for p in params], alpha=1 - keep)
        errors.append(error.detach().abs())
        if done % 100 == 0:
            e = torch.cat(errors).mean(0)
            by = {n: round(float(e[3 * i:3 * i + 3].mean()) * 127.5, 1) for i, n in enumerate(figure.PARTS) if n in ("wall", "floor", "hair", "face", "torso", "r_thigh", "r_shin", "r_shoe", "r_fore")}
            print(json.dumps({"step": done, "s": round((time.time() - logged) / len(errors), 3), "of_255": by, "measures": round(float(e[57:].mean()), 3)}), flush=True)
            errors, logged = [], time.time()
        if time.time() - saved > 240:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
