"""The VAE is not trained here: it is the committed one (../model/vae; README.md says where it comes from). Its encoder is one matrix a patch of 8x8 pixels
(convolutions that only rearrange, and a projection); this finds the matrix, so that training draws latents without running the encoder, and the latents' scale.

    python vae.py WORK --motion DIR [--vae ../model/vae]
"""
import argparse
import pathlib
import shutil

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder

import clips
import figure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--motion", required=True)
    parser.add_argument("--vae", default=pathlib.Path(__file__).resolve().parents[1] / "model/vae")
    args = parser.parse_args()
    work = pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKLTemporalDecoder.from_pretrained(args.vae, variant="fp16").float().eval()
    motions, rng = clips.Motions(args.motion), np.random.default_rng(0)

    rows, latents = [], []
    for _ in range(8):
        parts, _, _, colours = motions.clip(rng)
        pictures = np.stack([figure.paint(p, colours) for p in parts[:6]])
        pictures = np.clip(pictures + rng.normal(0, 20, pictures.shape), 0, 255).astype(np.uint8)  # noise, so that the fit sees all 192 directions
        with torch.no_grad():
            z = vae.encode(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mode()
        rows.append(clips.patches(pictures).reshape(-1, 192))
        latents.append(z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]))
    rows, latents = torch.cat(rows).double(), torch.cat(latents).double()
    solution = torch.linalg.lstsq(torch.cat([rows, torch.ones(len(rows), 1)], 1), latents).solution
    rest = latents - rows @ solution[:192] - solution[192]
    print(f"encoder as a matrix: rms difference {float(rest.pow(2).mean().sqrt()):.4f} of latents with deviation {float(latents.std()):.2f}")

    drawn = []
    for _ in range(60):
        parts, _, _, colours = motions.clip(rng)
        drawn.append(clips.patches(figure.paint(parts[0], colours)[None]).reshape(-1, 192).double() @ solution[:192] + solution[192])
    scaling = float(1 / torch.cat(drawn).std(0).pow(2).mean().sqrt())
    print(f"scaling_factor {scaling:.6f}")
    np.savez(work / "encoder.npz", matrix=solution[:192].float().numpy(), bias=solution[192].float().numpy(), scaling=np.float32(round(scaling, 6)))
    shutil.copy(pathlib.Path(args.vae) / "diffusion_pytorch_model.fp16.safetensors", work / "vae.safetensors")


if __name__ == "__main__":
    main()
