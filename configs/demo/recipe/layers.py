"""What UNet and image tower share: layers that compute in the type of what they are given, whatever type their weights are kept in."""
import torch.nn as nn
import torch.nn.functional as F


def linear(x, layer):
    return F.linear(x, layer.weight.to(x.dtype), None if layer.bias is None else layer.bias.to(x.dtype))


class LayerNorm(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def attend(q, k, v):
    """[..., l, d] each. At these sizes twice as fast as torch's fused attention on a CPU."""
    return (q * (q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v
