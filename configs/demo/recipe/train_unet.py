"""Trains UNet and PoseNet. Two processes of one thread each, one gradient sum a step; the schedule follows the clock.

    python train_unet.py WORK --motion DIR --minutes 100 [--from CHECKPOINT] [--ranks 2] [--tower CLIP_CHECKPOINT] [--sigma LOW MID HIGH]
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import clip_tower
import clips
import nets

UNET = dict(in_channels=32, out_channels=16, block_out_channels=[64, 64, 64], num_attention_heads=[2, 2, 2], cross_attention_dim=64, addition_time_embed_dim=32,
            layers_per_block=1)
IDS = (6.0, 127.0, 0.0)  # fps - 1, motion bucket, noise augmentation


def sigmas(rng, n, low, mid, high):
    """Noise levels, stratified: four in ten from [low, mid], where the picture is cleaned, six from [mid, high], where it is made."""
    u = (np.arange(n) + rng.random(n)) / n
    rng.shuffle(u)
    low, mid, high = math.log(low), math.log(mid), math.log(high)
    return np.exp(np.where(u < 0.4, low + (mid - low) * u / 0.4, mid + (high - mid) * (u - 0.4) / 0.6)).astype(np.float32)


def batch_of(motions, encoder, rng, n, styles=None):
    """n clips: latents x0 [n, 8, h, w, 16], image latents [n, h, w, 16], pose maps [n, 8, H, W, 3], style tokens [n, 64], weights [n, 8, h, w]"""
    x0, image, maps, tokens, weights = [], [], [], [], []
    for _ in range(n):
        parts, poses, body, colours = motions.clip(rng)
        pictures = np.stack([clips.figure.paint(p, colours) for p in parts])
        z = encoder(pictures)
        x0.append(z * encoder.scaling), image.append(z[0]), maps.append(torch.from_numpy(poses))
        tokens.append(torch.from_numpy(clips.style_of(body, colours)) if styles is None else styles(pictures[0]))
        weights.append(clips.figure_weight(parts))
    w = torch.stack(weights)
    w[:, 0] *= 0.3
    return torch.stack(x0), torch.stack(image), torch.stack(maps), torch.stack(tokens), w


def losses(unet, pose_net, batch, sigma, noise, drop):
    x0, image, maps, tokens, weights = batch
    b, f, h, w, c = x0.shape
    s = torch.from_numpy(sigma).view(b, 1, 1, 1, 1)
    x = x0 + s * noise
    target = (x / (s * s + 1) - x0) * (s * s + 1).sqrt() / s
    keep = torch.from_numpy(1.0 - drop.astype(np.float32))
    given = torch.cat([x / (s * s + 1).sqrt(), (image * keep.view(b, 1, 1, 1))[:, None].expand(-1, f, -1, -1, -1)], -1)
    pose = pose_net(maps.reshape(b * f, *maps.shape[2:]).float() / 127.5 - 1)
    pose = (pose.view(b, -1) * keep[:, None].to(pose.dtype)).view(pose.shape)
    t = 0.25 * torch.log(s.view(b))
    v = unet(given.view(b * f, h, w, 2 * c), t, torch.tensor(IDS).expand(b, 3), tokens * keep[:, None], pose, f).view(b, f, h, w, c)
    e = (v.float() - target).pow(2).mean(-1)
    return (e * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))


class Tower:
    """The trained image tower as a source of tokens."""

    def __init__(self, path):
        self.net, self.pixels = clip_tower.load(path), clip_tower.pixels

    def __call__(self, picture):
        with torch.no_grad():
            return self.net(self.pixels(picture[None]))[0].float()


def main(rank, args):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
    dist.init_process_group("gloo", rank=rank, world_size=args.ranks)
    torch.manual_seed(args.seed)
    unet, pose_net = nets.UNet(UNET), nets.PoseNet(UNET["block_out_channels"][0])
    both = torch.nn.ModuleDict({"unet": unet, "pose_net": pose_net})
    for name, p in both.named_parameters():  # each branch starts as a small correction
        if name.endswith("conv2.weight") or name.endswith("proj_out.weight") or name == "unet.conv_out.weight":
            p.data *= 0.1
    params = list(both.parameters())
    average = [p.data.clone() for p in params]
    opt = torch.optim.AdamW([{"params": [p for p in params if p.dim() > 1], "weight_decay": 1e-3}, {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0}],
                            lr=args.rate, betas=(0.9, 0.98), eps=1e-8, fused=False, foreach=True)
    done, before = 0, 0.0
    if args.start:
        state = torch.load(args.start, weights_only=False)
        both.load_state_dict(state["now"])
        average = [state["average"][n].clone() for n, _ in both.named_parameters()]
        done, before = state["steps"], state["minutes"]
        opt.load_state_dict(state["opt"])
    motions, encoder = clips.Motions(args.motion), clips.Encoder(f"{args.work}/encoder.npz")
    tower = Tower(args.tower) if args.tower else None
    rng = np.random.default_rng([args.seed, rank, done])
    start, saved, seen, logged, logged_at = time.time(), time.time(), [], time.time(), done
    clock = torch.zeros(1)
    while True:
        clock[0] = (time.time() - start) / 60 / args.minutes
        dist.broadcast(clock, 0)
        u = float(clock)
        if u >= 1:
            break
        rate = args.rate * min(1.0, (done + 1) / 100 if not args.start else u * args.minutes + 0.05) * (
            1.0 if u < args.hold else 0.5 * (1 + math.cos(math.pi * (u - args.hold) / (1 - args.hold))) * 0.98 + 0.02)
        for g in opt.param_groups:
            g["lr"] = rate
        use_tower = tower if tower and rng.random() < args.tower_share else None
        batch = list(batch_of(motions, encoder, rng, args.clips, use_tower))
        if use_tower is None:
            batch[3] = batch[3] + torch.from_numpy(rng.normal(size=batch[3].shape).astype(np.float32)) * float(rng.uniform(0, 0.12))
        sigma, drop = sigmas(rng, args.clips, *args.sigma), rng.random(args.clips) < 0.08
        noise = torch.from_numpy(rng.standard_normal(batch[0].shape, dtype=np.float32))
        each = losses(unet, pose_net, batch, sigma, noise, drop)
        opt.zero_grad(set_to_none=True)
        each.mean().backward()
        flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in params])
        dist.all_reduce(flat)
        flat /= args.ranks
        norm = float(flat.norm())
        if not math.isfinite(norm):
            raise SystemExit(f"step {done}: gradient is not finite")
        flat *= min(1.0, 1.0 / max(norm, 1e-9))
        at = 0
        for p in params:
            n = p.numel()
            p.grad = flat[at:at + n].view_as(p) if p.grad is not None else None
            at += n
        opt.step()
        done += 1
        keep = min(0.999, 1 - 10 / (10 + done))
        torch._foreach_mul_(average, keep)
        torch._foreach_add_(average, [p.data for p in params], alpha=1 - keep)
        if rank == 0:
            seen += [(float(s), float(e)) for s, e, d in zip(sigma, each.detach(), drop) if not d]
        if rank == 0 and done % 50 == 0:
            row = {"step": done, "minutes": round(before + (time.time() - start) / 60, 2), "s": round((time.time() - logged) / (done - logged_at), 3), "rate": rate, "norm": round(norm, 3),
                   "high": round(float(np.mean([e for s, e in seen if s > 5] or [0])), 5), "low": round(float(np.mean([e for s, e in seen if s <= 5] or [0])), 5)}
            print(json.dumps(row), flush=True)
            seen, logged, logged_at = [], time.time(), done
        if rank == 0 and (time.time() - saved > 300):
            save(args, both, average, opt, done, before + (time.time() - start) / 60)
            saved = time.time()
    if rank == 0:
        save(args, both, average, opt, done, before + (time.time() - start) / 60)
    dist.destroy_process_group()


def save(args, both, average, opt, done, minutes):
    names = [n for n, _ in both.named_parameters()]
    state = {"now": both.state_dict(), "average": dict(zip(names, average)), "opt": opt.state_dict(), "steps": done, "minutes": minutes, "config": UNET}
    torch.save(state, f"{args.work}/unet.pt.part")
    os.replace(f"{args.work}/unet.pt.part", f"{args.work}/unet.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--motion", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--from", dest="start")
    parser.add_argument("--tower")
    parser.add_argument("--tower-share", type=float, default=0.5)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--hold", type=float, default=0.4)
    parser.add_argument("--sigma", type=float, nargs=3, default=(1.0, 5.0, 100.0))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=29517)
    args = parser.parse_args()
    mp.spawn(main, (args,), args.ranks)
