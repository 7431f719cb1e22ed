"""The UNet and PoseNet that are trained: diffusers' names and mathematics, written for speed on a CPU.

Differences that do not show: channels last everywhere; the cross attention over one token is to_out(to_v(token)), its norm2, to_q and to_k have no influence and
keep their start values; the (3, 1, 1) convolutions are matrix products of shifted frames (the bf16 Conv3d backward of torch 2.11 gave NaN on a CPU).
"""
import math
import pathlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils import cpp_extension

from layers import LayerNorm, attend, linear

_fused = cpp_extension.load("weft_demo_fused", [str(pathlib.Path(__file__).with_name("fused.cpp"))], extra_cflags=["-O3", "-march=native", "-ffast-math"])


class _NormSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, eps, act):
        x = x.contiguous()
        y, stats = _fused.norm_forward(x, weight, bias, eps, act)
        ctx.save_for_backward(x, weight, bias, stats)
        ctx.act = act
        return y

    @staticmethod
    def backward(ctx, g):
        return *_fused.norm_backward(g.contiguous(), *ctx.saved_tensors, ctx.act), None, None


class _GegluFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.contiguous()
        ctx.save_for_backward(x)
        return _fused.geglu_forward(x).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return _fused.geglu_backward(g.contiguous(), x).view(x.shape)


def sinusoid(t, dim):
    k = dim // 2
    f = torch.exp(-math.log(10000.0) * torch.arange(k, dtype=torch.float32) / k)
    a = t.float()[:, None] * f[None]
    return torch.cat([a.cos(), a.sin()], -1)


class Norm(nn.Module):
    """GroupNorm of 32 groups over [batch, positions, channels], then SiLU if asked."""

    def __init__(self, channels, eps, act):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps, self.act = eps, act

    def forward(self, x):
        return _NormSilu.apply(x, self.weight, self.bias, self.eps, self.act)


def conv(x, layer, h, w, stride=1):
    """x [n, h w, c] -> [n, h' w', c']"""
    n = x.shape[0]
    y = F.conv2d(x.view(n, h, w, -1).permute(0, 3, 1, 2), layer.weight.to(x.dtype), layer.bias.to(x.dtype), stride, layer.padding)
    return y.permute(0, 2, 3, 1).reshape(n, -1, y.shape[1])


def conv_time(x, layer, frames):
    """x [n frames, l, c] -> the same; kernel (3, 1, 1)."""
    n, l, c = x.shape
    y = x.view(n // frames, frames, l, c)
    pad = torch.zeros_like(y[:, :1])
    three = torch.cat([torch.cat([pad, y[:, :-1]], 1), y, torch.cat([y[:, 1:], pad], 1)], -1)
    weight = layer.weight.view(layer.weight.shape[0], c, 3).permute(0, 2, 1).reshape(-1, 3 * c)
    return F.linear(three, weight.to(x.dtype), layer.bias.to(x.dtype)).view(n, l, -1)


class Resnet(nn.Module):
    def __init__(self, ci, co, emb, eps, temporal):
        super().__init__()
        self.norm1, self.norm2 = Norm(ci, eps, True), Norm(co, eps, True)
        k = (dict(kernel_size=(3, 1, 1), padding=(1, 0, 0)), nn.Conv3d) if temporal else (dict(kernel_size=3, padding=1), nn.Conv2d)
        self.conv1, self.conv2 = k[1](ci, co, **k[0]), k[1](co, co, **k[0])
        self.time_emb_proj = nn.Linear(emb, co)
        if ci != co:
            self.conv_shortcut = nn.Conv2d(ci, co, 1)
        self.temporal = temporal

    def forward(self, x, e, h, w, frames):
        """x [b frames, l, c], e [b, emb] (SiLU done)"""
        b = x.shape[0] // frames
        if self.temporal:
            norm = lambda n, v: n(v.reshape(b, -1, v.shape[-1])).view(v.shape)
            run = lambda v, c: conv_time(v, c, frames)
        else:
            norm = lambda n, v: n(v)
            run = lambda v, c: conv(v, c, h, w)
        y = run(norm(self.norm1, x), self.conv1)
        y = y + linear(e, self.time_emb_proj).repeat_interleave(frames, 0)[:, None]
        y = run(norm(self.norm2, y), self.conv2)
        if hasattr(self, "conv_shortcut"):
            s = self.conv_shortcut
            x = F.linear(x, s.weight.flatten(1).to(x.dtype), s.bias.to(x.dtype))
        return x + y


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, spatial, temporal):
        a = torch.sigmoid(self.mix_factor).to(spatial.dtype)
        return a * spatial + (1 - a) * temporal


class Res(nn.Module):
    def __init__(self, ci, co, emb, eps):
        super().__init__()
        self.spatial_res_block, self.temporal_res_block = Resnet(ci, co, emb, eps, False), Resnet(co, co, emb, eps, True)
        self.time_mixer = Mixer()

    def forward(self, x, e, h, w, frames):
        s = self.spatial_res_block(x, e, h, w, frames)
        return self.time_mixer(s, self.temporal_res_block(s, e, h, w, frames))


class Attention(nn.Module):
    def __init__(self, c, heads, ctx=None):
        super().__init__()
        self.to_q = nn.Linear(c, c, bias=False)
        self.to_k, self.to_v = nn.Linear(ctx or c, c, bias=False), nn.Linear(ctx or c, c, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(c, c)])
        self.heads = heads

    def forward(self, x):
        n, l, c = x.shape
        qkv = F.linear(x, torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight]).to(x.dtype)).view(n, l, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return linear(attend(q, k, v).transpose(1, 2).reshape(n, l, c), self.to_out[0])

    def token(self, ctx):
        return linear(linear(ctx, self.to_v), self.to_out[0])


class Geglu(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.proj = nn.Linear(c, 8 * c)


class Feed(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.net = nn.ModuleList([Geglu(c), nn.Identity(), nn.Linear(4 * c, c)])

    def forward(self, x):
        return linear(_GegluFunction.apply(linear(x, self.net[0].proj)), self.net[2])


class Block(nn.Module):
    def __init__(self, c, heads, ctx, temporal):
        super().__init__()
        if temporal:
            self.norm_in, self.ff_in = LayerNorm(c), Feed(c)
        self.norm1, self.norm2, self.norm3 = LayerNorm(c), LayerNorm(c), LayerNorm(c)
        self.attn1, self.attn2, self.ff = Attention(c, heads), Attention(c, heads, ctx), Feed(c)
        self.temporal = temporal

    def forward(self, x, token):
        """x [n, l, c], token [n, 1, context]"""
        if self.temporal:
            x = x + self.ff_in(self.norm_in(x))
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2.token(token)
        return x + self.ff(self.norm3(x))


class Mlp(nn.Module):
    def __init__(self, ci, mid, co):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(ci, mid), nn.Linear(mid, co)

    def forward(self, x):
        return linear(F.silu(linear(x, self.linear_1)), self.linear_2)


class Transformer(nn.Module):
    def __init__(self, c, heads, ctx):
        super().__init__()
        self.norm = Norm(c, 1e-6, False)
        self.proj_in, self.proj_out = nn.Linear(c, c), nn.Linear(c, c)
        self.transformer_blocks = nn.ModuleList([Block(c, heads, ctx, False)])
        self.temporal_transformer_blocks = nn.ModuleList([Block(c, heads, ctx, True)])
        self.time_pos_embed, self.time_mixer = Mlp(c, 4 * c, c), Mixer()

    def forward(self, x, token, frames):
        n, l, c = x.shape
        b = n // frames
        z = linear(self.norm(x), self.proj_in)
        z = self.transformer_blocks[0](z, token.repeat_interleave(frames, 0)[:, None])
        pe = self.time_pos_embed(sinusoid(torch.arange(frames), c).to(z.dtype))
        m = (z.view(b, frames, l, c) + pe[None, :, None]).transpose(1, 2).reshape(b * l, frames, c)
        m = self.temporal_transformer_blocks[0](m, token.repeat_interleave(l, 0)[:, None])
        m = m.view(b, l, frames, c).transpose(1, 2).reshape(n, l, c)
        return x + linear(self.time_mixer(z, m), self.proj_out)


class Sampler(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride, 1)


class Level(nn.Module):
    def __init__(self, resnets, attentions, sampler, name):
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)
        if sampler:
            setattr(self, name, nn.ModuleList([sampler]))


class UNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        ch, heads, ctx = config["block_out_channels"], config["num_attention_heads"], config["cross_attention_dim"]
        ids, emb, depth = config["addition_time_embed_dim"], 4 * ch[0], config["layers_per_block"]
        self.config = config
        self.conv_in = nn.Conv2d(config["in_channels"], ch[0], 3, padding=1)
        self.time_embedding, self.add_embedding = Mlp(ch[0], emb, emb), Mlp(3 * ids, emb, emb)
        last = len(ch) - 1
        down, skips = [], [ch[0]]
        for i, c in enumerate(ch):
            eps = 1e-5 if i == last else 1e-6
            ins = [ch[max(i - 1, 0)]] + [c] * (depth - 1)
            down.append(Level([Res(ci, c, emb, eps) for ci in ins], [Transformer(c, heads[i], ctx) for _ in ins] if i < last else None,
                              Sampler(c, 2) if i < last else None, "downsamplers"))
            skips += [c] * depth + ([c] if i < last else [])
        self.down_blocks = nn.ModuleList(down)
        self.mid_block = Level([Res(ch[-1], ch[-1], emb, 1e-5), Res(ch[-1], ch[-1], emb, 1e-5)], [Transformer(ch[-1], heads[-1], ctx)], None, "")
        up, at = [], ch[-1]
        for i, c in enumerate(reversed(ch)):
            resnets = []
            for _ in range(depth + 1):
                resnets.append(Res(at + skips.pop(), c, emb, 1e-6))
                at = c
            up.append(Level(resnets, [Transformer(c, heads[last - i], ctx) for _ in resnets] if i > 0 else None, Sampler(c, 1) if i < last else None, "upsamplers"))
        self.up_blocks = nn.ModuleList(up)
        self.conv_norm_out, self.conv_out = Norm(ch[0], 1e-5, True), nn.Conv2d(ch[0], config["out_channels"], 3, padding=1)

    def forward(self, x, t, ids, token, pose, frames):
        """x [b frames, h, w, in], t [b], ids [b, 3], token [b, ctx], pose [b frames, h w, c0] -> v [b frames, h w, out]"""
        n, h, w, _ = x.shape
        b = n // frames
        x = x.to(torch.bfloat16).reshape(n, h * w, -1)
        ch = self.config["block_out_channels"][0]
        d = self.config["addition_time_embed_dim"]
        e = self.time_embedding(sinusoid(t, ch).to(x.dtype)) + self.add_embedding(sinusoid(ids.reshape(-1), d).view(b, -1).to(x.dtype))
        e = F.silu(e)
        token = token.to(x.dtype)
        x = conv(x, self.conv_in, h, w) + pose
        skips = [x]
        for level in self.down_blocks:
            for j, res in enumerate(level.resnets):
                x = res(x, e, h, w, frames)
                if hasattr(level, "attentions"):
                    x = level.attentions[j](x, token, frames)
                skips.append(x)
            if hasattr(level, "downsamplers"):
                x = conv(x, level.downsamplers[0].conv, h, w, 2)
                h, w = h // 2, w // 2
                skips.append(x)
        x = self.mid_block.resnets[0](x, e, h, w, frames)
        x = self.mid_block.attentions[0](x, token, frames)
        x = self.mid_block.resnets[1](x, e, h, w, frames)
        for level in self.up_blocks:
            for j, res in enumerate(level.resnets):
                x = res(torch.cat([x, skips.pop()], -1), e, h, w, frames)
                if hasattr(level, "attentions"):
                    x = level.attentions[j](x, token, frames)
            if hasattr(level, "upsamplers"):
                x = x.view(n, h, 1, w, 1, -1).expand(n, h, 2, w, 2, x.shape[-1]).reshape(n, 4 * h * w, -1)
                h, w = 2 * h, 2 * w
                x = conv(x, level.upsamplers[0].conv, h, w)
        return conv(self.conv_norm_out(x), self.conv_out, h, w)


class PoseNet(nn.Module):
    def __init__(self, out):
        super().__init__()
        sizes = [(3, 3, 3, 1), (3, 16, 4, 2), (16, 16, 3, 1), (16, 32, 4, 2), (32, 32, 3, 1), (32, 64, 4, 2), (64, 64, 3, 1), (64, 128, 3, 1)]
        layers = []
        for ci, co, k, s in sizes:
            layers += [nn.Conv2d(ci, co, k, s, 1), nn.SiLU()]
        self.conv_layers, self.final_proj, self.scale = nn.Sequential(*layers), nn.Conv2d(128, out, 1), nn.Parameter(torch.ones(1) * 2)

    def forward(self, maps):
        """maps [n, H, W, 3] in -1..1 -> [n, h w, out]"""
        x = maps.to(torch.bfloat16).permute(0, 3, 1, 2)
        for layer in self.conv_layers:
            x = F.conv2d(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype), layer.stride, layer.padding) if isinstance(layer, nn.Conv2d) else F.silu(x)
        n, c = x.shape[:2]
        x = x.permute(0, 2, 3, 1).reshape(n, -1, c)
        f = self.final_proj
        return F.linear(x, f.weight.flatten(1).to(x.dtype), f.bias.to(x.dtype)) * self.scale.to(x.dtype)
