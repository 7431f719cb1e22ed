#!/usr/bin/env python3
"""One pass of the published full-size UNet (random weights, fp32, one CPU thread) by diffusers' class: seconds and memory, as JSON.

    unet_full.py UNET_CONFIG.json FRAMES WIDTH HEIGHT [--repeat 3]

A conditional call with given pose features. The first call is a warm-up. Needs 6.1 GB for the weights, plus the call.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.dont_write_bytecode = True  # no __pycache__ in the tree

from memory import PeakAnon, status_bytes

peak_anon = PeakAnon()

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from diffusers import UNetSpatioTemporalConditionModel

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


def fill_cheaply(unet):
    """Tiles of one drawn pool, scaled by fan-in so that values stay ordinary numbers all the way: seconds instead of a minute."""
    pool = torch.randn(1 << 22, generator=torch.Generator().manual_seed(1))
    for name, p in unet.named_parameters():
        if p.ndim < 2:
            p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.01)
            continue
        scaled = pool * (p[0].numel() ** -0.5)
        flat = p.view(-1)
        for begin in range(0, flat.numel(), pool.numel()):
            part = flat[begin : begin + pool.numel()]
            part.copy_(scaled[: part.numel()])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("frames", type=int)
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    config = json.loads(args.config.read_text())
    h, w = args.height // 8, args.width // 8

    with torch.inference_mode():
        before_weights = status_bytes("RssAnon")
        start = time.process_time()
        with torch.device("meta"):
            unet = UNetSpatioTemporalConditionModel.from_config(config)
        unet = unet.to_empty(device="cpu").eval().requires_grad_(False)
        fill_cheaply(unet)
        fill_s = time.process_time() - start

        drawn = torch.Generator().manual_seed(2)
        sample = torch.randn(1, args.frames, unet.config.in_channels, h, w, generator=drawn)
        ctx = torch.randn(1, 1, unet.config.cross_attention_dim, generator=drawn)
        pose = torch.randn(args.frames, unet.config.block_out_channels[0], h, w, generator=drawn)
        ids = torch.tensor([[6.0, 127.0, 0.0]])
        t = torch.tensor(1.6378)
        unet.conv_in.register_forward_hook(lambda module, inputs, out: out + pose)

        after_weights = status_bytes("RssAnon")
        peak_anon.take()
        wall, cpu, peaks = [], [], []
        for _ in range(1 + args.repeat):
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            out = unet(sample, t, ctx, ids, return_dict=False)[0]
            wall.append(time.perf_counter() - wall_start)
            cpu.append(time.process_time() - cpu_start)
            peaks.append(peak_anon.take())
            assert torch.isfinite(out).all()
            del out

    rounded = lambda values: [round(value, 3) for value in values]
    report = {
        "frames": args.frames,
        "width": args.width,
        "height": args.height,
        "parameters": sum(p.numel() for p in unet.parameters()),
        "cpu_s_median": round(statistics.median(cpu[1:]), 3),
        "wall_s_median": round(statistics.median(wall[1:]), 3),
        "cpu_s": rounded(cpu),
        "wall_s": rounded(wall),
        "fill_cpu_s": round(fill_s, 2),
        "rss_anon_before_weights": before_weights,
        "rss_anon_after_weights": after_weights,
        "rss_anon_peak_per_call": peaks,
        "rss_anon_peak_call_alone": max(peaks) - after_weights,
        "peak_rss_bytes": status_bytes("VmHWM"),
        "torch": torch.__version__,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    try:
        main()
    finally:
        peak_anon.stop()
