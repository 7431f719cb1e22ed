"""Writes checkpoints as a model folder in the published layout (fp16): MimicMotion_1-1.pth and the base model's folders.

    python export.py WORK FOLDER [--sigma-min S --sigma-max S]
"""
import argparse
import json
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import clip_tower

PREPROCESSOR = {"crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
                "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor",
                "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}}


def flat(tensors):
    """The tensors as views into one storage, as the published checkpoint holds them: the archive then has one record."""
    total = sum(t.numel() for t in tensors.values())
    storage, out, at = torch.empty(total, dtype=torch.float16), {}, 0
    for name, t in tensors.items():
        out[name] = storage[at:at + t.numel()].view(t.shape)
        out[name].copy_(t)
        at += t.numel()
    return out


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("folder")
    parser.add_argument("--sigma-min", type=float, default=2.0)
    parser.add_argument("--sigma-max", type=float, default=80.0)
    args = parser.parse_args()
    work, folder = pathlib.Path(args.work), pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)

    state = torch.load(work / "unet.pt", weights_only=False)
    torch.save(flat(state["average"]), folder / "MimicMotion_1-1.pth")
    unet = state["config"]
    levels = len(unet["block_out_channels"])
    write_json(folder / "unet/config.json", {"_class_name": "UNetSpatioTemporalConditionModel", "_diffusers_version": "0.27.0", "sample_size": 16, **unet,
               "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * (levels - 1) + ["DownBlockSpatioTemporal"],
               "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * (levels - 1),
               "projection_class_embeddings_input_dim": 3 * unet["addition_time_embed_dim"], "transformer_layers_per_block": 1, "num_frames": 8})
    tower = torch.load(work / "tower.pt", weights_only=False)["average"]
    write_json(folder / "image_encoder/config.json", {"architectures": ["CLIPVisionModelWithProjection"], "attention_dropout": 0.0, "hidden_act": "gelu", "initializer_factor": 1.0,
               "initializer_range": 0.02, "layer_norm_eps": 1e-05, "model_type": "clip_vision_model", "num_channels": 3, "torch_dtype": "float16",
               "transformers_version": "4.33.1", **clip_tower.CONFIG})
    save_file({n: t.half().contiguous() for n, t in tower.items()}, folder / "image_encoder/model.fp16.safetensors", {"format": "pt"})
    (folder / "vae").mkdir(exist_ok=True)
    save_file(load_file(work / "vae.safetensors"), folder / "vae/diffusion_pytorch_model.fp16.safetensors", {"format": "pt"})
    write_json(folder / "vae/config.json", {"_class_name": "AutoencoderKLTemporalDecoder", "_diffusers_version": "0.27.0", "block_out_channels": [96, 96, 64, 96],
               "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True, "in_channels": 3, "latent_channels": 16, "layers_per_block": 1, "out_channels": 3,
               "sample_size": 128, "scaling_factor": round(float(np.load(work / "encoder.npz")["scaling"]), 6)})
    write_json(folder / "scheduler/scheduler_config.json", {"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.27.0", "beta_end": 0.012,
               "beta_schedule": "scaled_linear", "beta_start": 0.00085, "interpolation_type": "linear", "num_train_timesteps": 1000, "prediction_type": "v_prediction",
               "rescale_betas_zero_snr": False, "sigma_max": args.sigma_max, "sigma_min": args.sigma_min, "steps_offset": 1, "timestep_spacing": "leading",
               "timestep_type": "continuous", "trained_betas": None, "use_karras_sigmas": True})
    write_json(folder / "feature_extractor/preprocessor_config.json", PREPROCESSOR)
    write_json(folder / "model_index.json", {"_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": "0.27.0",
               "feature_extractor": ["transformers", "CLIPImageProcessor"], "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
               "scheduler": ["diffusers", "EulerDiscreteScheduler"], "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
               "vae": ["diffusers", "AutoencoderKLTemporalDecoder"]})
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.suffix in (".pth", ".safetensors"))
    print(f"{folder}: {size / 1e6:.2f} MB of weights, from step {state['steps']} after {state['minutes']:.1f} minutes")


if __name__ == "__main__":
    main()
