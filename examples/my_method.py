"""Global magnitude pruning that rises linearly to its target. Is it better than STR? make regress METHOD=FILE"""

import torch

from paper_repro import Method
from paper_repro.methods.base import attached_layers
from paper_repro.methods.mask import Mask


class MyMethod(Method):
    ranges = {"until": {"low": 0.5, "high": 0.9}}  # what TUNE=5 may choose; weight_decay would be another

    def __init__(self, sparsity_pct: float, until: float = 0.8):
        self.sparsity_pct, self.until = sparsity_pct, until

    def parametrization(self, name, layer):
        """How the raw weight of a layer becomes the one in use: any module that maps a tensor to one of its shape."""
        return Mask(layer.weight)  # weight * mask; the mask is a buffer, and so is saved with the model

    @torch.no_grad()
    def before_step(self, model, step, total_steps):
        """Called before every training step: prune the smallest weights of all layers, 50 times in a training."""
        share = self.sparsity_pct / 100 * min(1, step / (self.until * total_steps))
        if share > 0 and step % max(1, total_steps // 50) == 0:
            layers = attached_layers(model).values()
            magnitude = torch.cat([raw.abs().flatten() for _, raw in layers])
            keep = torch.ones_like(magnitude)
            keep[magnitude.topk(round(share * len(magnitude)), largest=False).indices] = 0
            for (mask, raw), part in zip(layers, keep.split([raw.numel() for _, raw in layers]), strict=True):
                mask.mask.copy_(part.view_as(raw))
