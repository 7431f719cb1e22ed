#!/usr/bin/env python3
"""Cuts tests/golden/mimicmotion and tests/golden/musepose out of the full golden data: cut.py FULL, FULL being the folder that holds both.

Needs numpy and safetensors, and torch 2.11 for MusePose's torch archives. What README.md does not name is a byte copy; of the tensors of a case
those stay that KEEP names, with their recorded bytes. Pose maps are mostly black, so they are kept as `NAME.mask` (a bit a pixel: not black; bits
packed along the width, the first pixel highest) and `NAME.colours` (the colours of those pixels, in order). Of MusePose's larger results every
101st value is kept, in order, as `NAME.every101`; 101 divides no dim, so all channels, frames and pixels take part. tests/support/golden.cpp reads both.
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

# Patterns of whole names. Inputs, results, and of what lies between enough to tell where it goes wrong, the small ones first.
PIPELINE = (
    r"reference_u8|poses_u8|image_embeds|image_latents|added_time_ids|sigmas|timesteps|initial_noise|guidance|slot_weights|step0\.weight_sum"
)
KEEP_MIMICMOTION = {
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
# All but what is never compared (README.md) and what has large inputs: layers of CLIP, the VAE and the pose guider, and the resizes.
NOT_COMPARED = r".*fp16|.*grid_frame0|.*transformer_blocks\.0\.norm2"
KEEP_MUSEPOSE = {
    "ragged": rf"(?!{NOT_COMPARED}).*",
    "single": rf"(?!{NOT_COMPARED}).*",
    "nocfg": rf"(?!{NOT_COMPARED}|step0\.guided|guided|latents|decoded|frames_u8).*",
    "layers": rf"(?!{NOT_COMPARED}|in\.clip_pixel|clip\.|in\.image|vae\.|in\.pose_map|pose\.|pre\.).*",
    "scheduler": rf"(?!{NOT_COMPARED}).*",
}
INPUT = r"in\..*|n\d+\.(x|v)"
WHOLE_BYTES, EVERY = 1024, 101


def pack_map(tensors: dict[str, np.ndarray], name: str) -> None:
    poses = tensors.pop(name, None)
    if poses is not None:
        shown = poses.any(axis=-1)
        tensors[name + ".mask"] = np.packbits(shown, axis=-1)
        tensors[name + ".colours"] = poses[shown]


def thin(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    thinned = {}
    for key, value in tensors.items():
        whole = value.nbytes <= WHOLE_BYTES or re.fullmatch(INPUT, key)
        thinned[key if whole else f"{key}.every{EVERY}"] = value if whole else np.ascontiguousarray(value.reshape(-1)[::EVERY])
    return thinned


def kept_tensors(case: Path, pattern: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in load_file(case / "tensors.safetensors").items() if re.fullmatch(pattern, key)}


def write_case(full: Path, cut: Path, tensors: dict[str, np.ndarray]) -> None:
    cut.mkdir(parents=True)
    shutil.copyfile(full / "case.json", cut / "case.json")
    save_file(tensors, cut / "tensors.safetensors")
    print(f"{cut.parent.parent.name}/{cut.name:10} {len(tensors):3} tensors, {(cut / 'tensors.safetensors').stat().st_size:7} bytes")


def copy_folders(full: Path, cut: Path, names: list[str], left_out: list[str]) -> None:
    for name in names:
        shutil.rmtree(cut / name, ignore_errors=True)
        shutil.copytree(full / name, cut / name, copy_function=shutil.copyfile)
    for name in left_out:
        (cut / name).unlink()
    shutil.rmtree(cut / "cases", ignore_errors=True)


def cut_mimicmotion(full: Path, cut: Path) -> None:
    # Never read by MimicMotion: weights of the base model's own UNet.
    base = "model/stable-video-diffusion-img2vid-xt-1-1/unet/diffusion_pytorch_model.fp16.safetensors"
    copy_folders(full, cut, ["model", "manifest-full", "pth-variants"], [base])
    for name, pattern in KEEP_MIMICMOTION.items():
        tensors = kept_tensors(full / "cases" / name, pattern)
        pack_map(tensors, "poses_u8")
        write_case(full / "cases" / name, cut / "cases" / name, tensors)


def rewrite_archive(path: Path, change) -> None:
    import torch

    before = torch.load(path, weights_only=True)
    after = {key: changed for key, value in before.items() if (changed := change(torch, key, value)) is not None}
    # Views of one storage, as the published .pth files have them: a record for each tensor takes a tenth of so small a file.
    halves = {key: value for key, value in after.items() if value.dtype == torch.float16}
    views = torch.cat([value.flatten() for value in halves.values()]).split([value.numel() for value in halves.values()])
    torch.save(after | {key: view.view(halves[key].shape) for key, view in zip(halves, views)}, path)


def as_half(torch, key, value):
    if not value.is_floating_point():
        return value
    assert torch.equal(value.half().float(), value), f"{key} is not what fp16 holds"
    return value.half()


def without_later_positions(torch, key, value):
    """Tables of positions are to be ignored: those of the first module are enough to notice one that is read."""
    return None if key.endswith(".pe") and not key.startswith("down_blocks.0.motion_modules.0.") else value.clone()


def shorten_manifest(path: Path) -> None:
    """Name and shape; without the number of elements and the files."""
    path.write_text("".join("\t".join(line.split("\t")[:2]) + "\n" for line in path.read_text().splitlines()))


def cut_musepose(full: Path, cut: Path) -> None:
    weights = "model/pretrained_weights"
    copy_folders(full, cut, ["model", "manifest-full"], [f"{weights}/sd-image-variations-diffusers/unet/diffusion_pytorch_model.bin"])
    for path in (cut / "manifest-full").glob("*.tsv"):
        shorten_manifest(path)
    rewrite_archive(cut / weights / "MusePose/motion_module.pth", without_later_positions)
    rewrite_archive(cut / weights / "image_encoder/pytorch_model.bin", as_half)
    rewrite_archive(cut / weights / "sd-vae-ft-mse/diffusion_pytorch_model.bin", as_half)
    for name, pattern in KEEP_MUSEPOSE.items():
        tensors = thin(kept_tensors(full / "cases" / name, pattern))
        pack_map(tensors, "in.pose_frames")
        write_case(full / "cases" / name, cut / "cases" / name, tensors)
    shutil.copytree(full / "cases/align", cut / "cases/align", copy_function=shutil.copyfile)


def main() -> None:
    for family, cut_family in {"mimicmotion": cut_mimicmotion, "musepose": cut_musepose}.items():
        cut = Path(__file__).parent / family
        cut_family(Path(sys.argv[1]) / family, cut)
        print(f"{family}: {sum(file.stat().st_size for file in cut.rglob('*') if file.is_file())} bytes")


if __name__ == "__main__":
    main()
