#!/usr/bin/env python3
"""Cuts tests/golden/mimicmotion out of the full golden data: cut.py FULL, FULL being the folder that holds mimicmotion/.

Needs numpy and safetensors. Model, manifests, pth-variants and case.json files are byte copies; of the tensors of a case those stay that KEEP
names, with their recorded bytes. Pose maps are mostly black, so they are kept as `poses_u8.mask` (a bit a pixel: not black; bits packed along
the width, the first pixel highest) and `poses_u8.colours` (the colours of those pixels, in order). tests/support/golden.cpp puts them together.
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

COPIED = ["model", "manifest-full", "pth-variants"]
# Never read by MimicMotion: weights of the base model's own UNet.
LEFT_OUT = ["model/stable-video-diffusion-img2vid-xt-1-1/unet/diffusion_pytorch_model.fp16.safetensors"]

# Patterns of whole names. Inputs, results, and of what lies between enough to tell where it goes wrong, the small ones first.
PIPELINE = (
    r"reference_u8|poses_u8|image_embeds|image_latents|added_time_ids|sigmas|timesteps|initial_noise|guidance|slot_weights|step0\.weight_sum"
)
KEEP = {
    "ramp": PIPELINE + r"|step0\.guided|step3\.latents",
    "single": PIPELINE + r"|step0\.slice0\.(un)?cond|step[012]\.latents|frames_u8",
    "layers": (
        r"in\.unet\..*|in\.vae\..*|unet\.(time|add)_embedding|unet\.down_blocks\.[0-3]|unet\.mid_block|unet\.up_blocks\.[01]|unet\.out"
        r"|unet\..*\.time_pos_embed|unet\.up_blocks\.1\.attentions\.0(\.(.*_)?transformer_blocks\.0(\.attn1|\.ff_in)?)?"
        r"|vae\.decoder\.mid_block|vae\.decode\.out"
        r"|vae\.encoder\.(down_blocks\.[123]|mid_block)|vae\.encode\.(mode|logvar)"
    ),
    "scheduler": r"noise|v|n\d+\.(sigmas|timesteps|init_noise_sigma|c_.*|x0)|n(1|4|25)\.(scaled_input|step)",
}


def pack_poses(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    poses = tensors.pop("poses_u8", None)
    if poses is not None:
        shown = poses.any(axis=-1)
        tensors["poses_u8.mask"] = np.packbits(shown, axis=-1)
        tensors["poses_u8.colours"] = poses[shown]
    return tensors


def main() -> None:
    full = Path(sys.argv[1]) / "mimicmotion"
    cut = Path(__file__).parent / "mimicmotion"
    for name in COPIED:
        shutil.rmtree(cut / name, ignore_errors=True)
        shutil.copytree(full / name, cut / name, copy_function=shutil.copyfile)
    for name in LEFT_OUT:
        (cut / name).unlink()
    shutil.rmtree(cut / "cases", ignore_errors=True)
    for name, pattern in KEEP.items():
        (cut / "cases" / name).mkdir(parents=True)
        shutil.copyfile(full / "cases" / name / "case.json", cut / "cases" / name / "case.json")
        tensors = load_file(full / "cases" / name / "tensors.safetensors")
        kept = {key: value for key, value in tensors.items() if re.fullmatch(pattern, key)}
        save_file(pack_poses(kept), cut / "cases" / name / "tensors.safetensors")
        print(f"{name:10} {len(kept):3} of {len(tensors):3} tensors, {(cut / 'cases' / name / 'tensors.safetensors').stat().st_size:7} bytes")
    print(f"{'all':10} {sum(file.stat().st_size for file in cut.rglob('*') if file.is_file())} bytes")


if __name__ == "__main__":
    main()
