#!/usr/bin/env python3
"""MimicMotion inference by diffusers' and transformers' own classes, fp32 on a CPU, for a job in weft's settings file: the side to compare weft with.

    mimicmotion_job.py CONFIG.toml [--frames FOLDER|FILE.npy] [--latents FILE.safetensors]
    mimicmotion_job.py --golden ../shared/golden/mimicmotion/cases/plain

Prints one JSON object: CPU seconds of each phase (`time.process_time`, so the interpreter's own start counts) and memory. Only what the classes do not hold is written here: PoseNet,
the image preparation, slices and blending (MimicMotion 62f91e1). Everything is done as the original does it; PoseNet runs in each conditional call.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.dont_write_bytecode = True  # no __pycache__ in the tree

from memory import PeakAnon, status_bytes

peak_anon = PeakAnon(every_s=0.02)

import argparse
import json
import math
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


# --- settings ---------------------------------------------------------------------------------------------------------------------------------


@dataclass
class Job:
    model: Path
    width: int = 576
    height: int = 1024
    steps: int = 25
    guidance: tuple = (2.0, 2.0)
    seed: int = 42
    noise_aug: float = 0.0
    fps: int = 7
    motion_bucket: int = 127
    length: int = 72
    overlap: int = 6
    chunk: int = 8


def read_job(file: Path):
    """The job, the image (u8 RGB) and the poses (u8, frame 0 the image's own), from weft's keys; other keys do not matter here."""
    settings = tomllib.loads(file.read_text())
    table = lambda name: settings.get(name, {})
    if table("model").get("family", "mimicmotion") != "mimicmotion":
        raise SystemExit("model.family: only mimicmotion has classes in a package")
    if table("slices").get("anchor", "blended") != "blended":
        raise SystemExit('slices.anchor: the original knows only "blended"')
    job = Job(model=file.parent / table("model")["path"])
    for source in (table("video"), table("sampling"), table("slices"), table("decode")):
        for key, value in source.items():
            if hasattr(job, key):
                setattr(job, key, value)
    paths = table("input")
    poses = read_poses(file.parent / paths["pose"], job)[:: paths.get("stride", 1)]
    if paths.get("frames", 0) > 0:
        poses = poses[: paths["frames"]]
    first = read_poses(file.parent / paths["image_pose"], job)[:1] if paths.get("image_pose") else poses[:1]
    image = np.asarray(Image.open(file.parent / paths["image"]).convert("RGB"))
    return job, image, np.concatenate([first, poses])


def read_poses(path: Path, job: Job):
    """A folder of pictures in name order, one picture, or an npz or npy with [frame, height, width, 3]; the size must be the job's."""
    if path.suffix in (".npz", ".npy"):
        poses = np.load(path)
        poses = poses if isinstance(poses, np.ndarray) else poses[poses.files[0]]
    else:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        poses = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    if poses.shape[1:] != (job.height, job.width, 3):
        raise SystemExit(f"{path}: poses are {poses.shape}, expected [frame, {job.height}, {job.width}, 3]")
    return poses


# --- networks ---------------------------------------------------------------------------------------------------------------------------------


class PoseNet(nn.Module):
    def __init__(self, out_channels: int):
        super().__init__()
        layers = []
        for i, o, kernel in ((3, 3, 3), (3, 16, 4), (16, 16, 3), (16, 32, 4), (32, 32, 3), (32, 64, 4), (64, 64, 3), (64, 128, 3)):
            layers += [nn.Conv2d(i, o, kernel, stride=kernel - 2, padding=1), nn.SiLU()]
        self.conv_layers = nn.Sequential(*layers)
        self.final_proj = nn.Conv2d(128, out_channels, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.final_proj(self.conv_layers(x)) * self.scale


class Models:
    """`folder` holds MimicMotion*.pth; the base model is a folder in it, or itself."""

    def __init__(self, folder: Path):
        bases = [base for base in (folder, *sorted(folder.iterdir())) if (base / "unet/config.json").is_file()]
        checkpoints = sorted(folder.glob("MimicMotion*.pth"))
        if len(bases) != 1 or len(checkpoints) != 1:
            raise SystemExit(f"{folder}: expected one base model and one MimicMotion*.pth, found {bases}, {checkpoints}")
        base = bases[0]
        config = lambda part: json.loads((base / part / "config.json").read_text())
        weights = torch.load(checkpoints[0], map_location="cpu", weights_only=True, mmap=True)
        of = lambda prefix: {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        with torch.device("meta"):  # nothing is drawn only to be overwritten
            self.unet = UNetSpatioTemporalConditionModel.from_config(config("unet"))
            self.vae = AutoencoderKLTemporalDecoder.from_config(config("vae"))
            self.pose_net = PoseNet(self.unet.config.block_out_channels[0])
            self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**config("image_encoder")))
        fill(self.unet, of("unet."))
        fill(self.pose_net, of("pose_net."))
        fill(self.vae, read_safetensors(base / "vae"))
        embeddings = self.clip.vision_model.embeddings
        embeddings.position_ids = torch.arange(embeddings.num_positions)[None]  # a buffer without a file
        fill(self.clip, {key: value for key, value in read_safetensors(base / "image_encoder").items() if not key.endswith("position_ids")})
        self.scheduler = EulerDiscreteScheduler.from_pretrained(base / "scheduler")
        preprocessor = json.loads((base / "feature_extractor/preprocessor_config.json").read_text())
        self.mean, self.std = (torch.tensor(preprocessor[key]).view(1, 3, 1, 1) for key in ("image_mean", "image_std"))

        self.pose_features = None  # what the original's extra argument `pose_latents` carries
        self.unet.conv_in.register_forward_hook(lambda module, inputs, out: out if self.pose_features is None else out + self.pose_features)


def read_safetensors(folder: Path):
    files = [*folder.glob("*.fp16.safetensors"), *folder.glob("*.safetensors")]
    if not files:
        raise SystemExit(f"{folder}: no safetensors")
    return load_file(files[0])


def fill(module: nn.Module, weights: dict):
    module.load_state_dict({key: value.to(torch.float32, copy=True) for key, value in weights.items()}, strict=True, assign=True)
    module.eval().requires_grad_(False)


# --- preparation ------------------------------------------------------------------------------------------------------------------------------


def cover(image: np.ndarray, height: int, width: int):
    """Resized to cover height x width as inference.py does (bilinear, no antialias), centre crop."""
    h, w = image.shape[:2]
    ratio = h / w
    size = (height, math.ceil(height / ratio)) if ratio < height / width else (math.ceil(width * ratio), width)
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    if size != (h, w):
        x = functional.interpolate(x.float(), size=size, mode="bilinear", align_corners=False).round().to(torch.uint8)
    top, left = round((size[0] - height) / 2), round((size[1] - width) / 2)
    return x[0, :, top : top + height, left : left + width].permute(1, 2, 0).numpy()


def truncated(image: np.ndarray):
    """The original's way there and back through [-1, 1], in fp32: it loses one of the values 1 to 63."""
    x = torch.from_numpy(image.copy()) / 127.5 - 1
    return ((x + 1) * 127.5).to(torch.uint8)


def clip_pixels(image: torch.Tensor, mean, std):
    """[1, 3, H, W] in [-1, 1] -> [1, 3, 224, 224]: Gaussian along x, then y, then bicubic (diffusers' _resize_with_antialiasing)."""
    for dim in (3, 2):
        sigma = max((image.shape[dim] / 224 - 1) / 2, 0.001)
        taps = int(max(4 * sigma, 3)) | 1
        gauss = torch.exp(-((torch.arange(taps, dtype=torch.float32) - taps // 2) ** 2) / (2 * torch.tensor(sigma) ** 2))
        kernel = (gauss / gauss.sum()).view((1, 1, 1, taps) if dim == 3 else (1, 1, taps, 1)).expand(3, -1, -1, -1)
        half = taps // 2
        image = functional.conv2d(functional.pad(image, (half, half, 0, 0) if dim == 3 else (0, 0, half, half), mode="reflect"), kernel, groups=3)
    image = functional.interpolate(image, size=(224, 224), mode="bicubic", align_corners=True)
    return ((image + 1) / 2 - mean) / std


def slices_of(num_frames: int, length: int, overlap: int):
    slices = [[0, *range(s + 1, s + length)] for s in range(0, num_frames - length + 1, length - overlap)]
    if slices[-1][-1] < num_frames - 1:
        slices.append([0, *range(num_frames - length + 1, num_frames)])
    return slices


# --- the job ----------------------------------------------------------------------------------------------------------------------------------


class Phases:
    def __init__(self):
        self.cpu_s, self.rss_anon = {}, {}
        self._cpu = 0.0

    def end(self, name: str):
        now = time.process_time()
        self.cpu_s[name] = round(now - self._cpu, 3)
        self.rss_anon[name] = status_bytes("RssAnon")
        self._cpu = now


def run(job: Job, models: Models, image_u8: torch.Tensor, poses_u8: np.ndarray, phases: Phases):
    """-> everything a golden case can check. image_u8: [H, W, 3] as CLIP and VAE see it."""
    num_frames, length = len(poses_u8), min(job.length, len(poses_u8))
    generator = torch.Generator("cpu").manual_seed(job.seed)
    guided = max(job.guidance) > 1

    image = (image_u8.float() / 255 * 2 - 1).permute(2, 0, 1)[None]
    ctx = models.clip(clip_pixels(image, models.mean, models.std)).image_embeds[:, None]
    image = image + job.noise_aug * torch.randn(image.shape, generator=generator)
    image_latents = models.vae.encode(image).latent_dist.mode()
    poses = torch.from_numpy(poses_u8).permute(0, 3, 1, 2) / 127.5 - 1
    phases.end("encode")

    scheduler = models.scheduler
    scheduler.set_timesteps(job.steps)
    noise = torch.randn(1, length, models.unet.config.in_channels // 2, job.height // 8, job.width // 8, generator=generator)
    latents = (noise * scheduler.init_noise_sigma).repeat(1, num_frames // length + 1, 1, 1, 1)[:, :num_frames]
    guidance = torch.linspace(*job.guidance, num_frames).view(1, -1, 1, 1, 1)
    ids = torch.tensor([[job.fps - 1, job.motion_bucket, job.noise_aug]], dtype=torch.float32)
    slices = slices_of(num_frames, length, job.overlap)
    slot = (torch.arange(length) + 0.5) * 2 / length
    slot = torch.minimum(slot, 2 - slot).view(1, -1, 1, 1, 1)
    calls = 0
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, t)
        repeated = image_latents[:, None].expand(-1, num_frames, -1, -1, -1)
        sums = {branch: torch.zeros_like(latents) for branch in ("uncond", "cond")}
        weights = torch.zeros(1, num_frames, 1, 1, 1)
        for frames in slices:
            for branch in sums if guided else ("cond",):
                unconditional = branch == "uncond"
                picture = torch.zeros_like(repeated) if unconditional else repeated
                models.pose_features = None if unconditional else models.pose_net(poses[frames])
                sample = torch.cat([scaled[:, frames], picture[:, frames]], dim=2)
                v = models.unet(sample, t, torch.zeros_like(ctx) if unconditional else ctx, ids, return_dict=False)[0]
                sums[branch][:, frames] += v * slot
                calls += 1
            weights[:, frames] += slot
        v = sums["cond"] / weights
        if guided:
            v_u = sums["uncond"] / weights
            v = v_u + guidance * (v - v_u)
        latents = scheduler.step(v, t, latents)[0]
    models.pose_features = None
    phases.end("denoise")

    flat = latents[0] / models.vae.config.scaling_factor
    chunks = [models.vae.decode(part, num_frames=len(part)).sample for part in flat.split(job.chunk)]
    frames = (torch.cat(chunks) / 2 + 0.5).clamp(0, 1)
    frames_u8 = (frames[1:] * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    phases.end("decode")
    return dict(image_embeds=ctx[0], image_latents=image_latents, latents=latents, frames=frames, frames_u8=frames_u8, calls=calls, slices=len(slices))


def check_golden(case: Path, args):
    """Compares with a pipeline case at the tolerances of the golden README: |difference| <= x * max|reference|."""
    p = json.loads((case / "case.json").read_text())["parameters"]
    want = load_file(case / "tensors.safetensors")
    job = Job(model=args.model or case.parent.parent / "model", width=p["width"], height=p["height"], steps=p["num_inference_steps"], seed=p["seed"],
              guidance=(p["min_guidance_scale"], p["max_guidance_scale"]), noise_aug=p["noise_aug_strength"], fps=p["fps"], motion_bucket=p["motion_bucket_id"],
              length=p["tile_size"], overlap=p["tile_overlap"], chunk=p["decode_chunk_size"])
    assert torch.equal(truncated(want["reference_u8"].numpy()), want["reference_u8_used"]), "truncation of the reference image"
    got = run(job, Models(job.model), want["reference_u8_used"], want["poses_u8"].numpy(), Phases())
    want["latents"] = want[f"step{job.steps - 1}.latents"]
    ok = True
    for key, tolerance in dict(image_embeds=1e-4, image_latents=1e-4, latents=1e-4, frames=3e-4).items():
        assert got[key].shape == want[key].shape, key
        relative = float((got[key] - want[key]).abs().max() / want[key].abs().max())
        ok = ok and relative <= tolerance
        print(f"{key:14} {relative:.1e} of max, allowed {tolerance:.0e}")
    off = (got["frames_u8"].int() - want["frames_u8"].int()).abs()
    ok = ok and int(off.max()) <= 1 and int((off > 0).sum()) <= 0.002 * off.numel()
    print(f"frames_u8      {int((off > 0).sum())} of {off.numel()} bytes off, by at most {int(off.max())}")
    print("agrees" if ok else "DIFFERS")
    return 0 if ok else 1


def main():
    phases = Phases()
    phases.end("startup")
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path, nargs="?")
    parser.add_argument("--golden", type=Path, metavar="CASE", help="compare with a golden pipeline case instead")
    parser.add_argument("--model", type=Path, help="with --golden: another model folder")
    parser.add_argument("--frames", type=Path, help="folder for PNG files, or FILE.npy")
    parser.add_argument("--latents", type=Path, metavar="FILE.safetensors", help="as `weft inspect --export` writes them")
    args = parser.parse_args()
    with torch.inference_mode():
        if args.golden:
            return check_golden(args.golden, args)
        if not args.config:
            parser.error("a settings file, or --golden CASE")
        job, image, poses = read_job(args.config)
        models = Models(job.model)
        phases.end("load")
        result = run(job, models, truncated(cover(image, job.height, job.width)), poses, phases)
        frames = result["frames_u8"].numpy()
        if args.frames and args.frames.suffix == ".npy":
            np.save(args.frames, frames)
        elif args.frames:
            args.frames.mkdir(parents=True, exist_ok=True)
            for number, frame in enumerate(frames, start=1):
                Image.fromarray(frame).save(args.frames / f"{number:05}.png")
        if args.latents:
            save_file({"latents": result["latents"][0].contiguous()}, args.latents)
        phases.end("write")
    report = {
        "cpu_s": {**phases.cpu_s, "total": round(time.process_time(), 3)},
        "frames": len(poses),
        "slices": result["slices"],
        "unet_calls": result["calls"],
        "peak_rss_bytes": status_bytes("VmHWM"),
        "peak_rss_anon_bytes": peak_anon.take(),
        "rss_anon_bytes_after": phases.rss_anon,
        "torch": torch.__version__,
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    try:
        code = main()
    finally:
        peak_anon.stop()
    raise SystemExit(code)
