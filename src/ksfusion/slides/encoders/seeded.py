"""An encoder for tests: seeded filters, never trained."""

from __future__ import annotations

import math

import torch
from torch import nn

SEEDED_MEAN, SEEDED_STD = (0.5,) * 3, (0.25,) * 3


class SeededConv(nn.Module):
    """Two layers of random filters, each summed up by the mean and the spread of its responses over the patch.

    Not pretrained: its weights are drawn once from a seed. The means follow colour and the density of nuclei, the
    spreads texture, so that a linear model can tell them apart; it is for tests, where speed counts and features do
    not. Each summary is brought to mean 0 and spread 1 over drawn textures in the colours of haematoxylin and eosin, as
    batch normalisation would: random filters differ by orders of magnitude.

    Attributes
    ----------
    n_features : int
        192: mean and standard deviation of 32 and of 64 filters.
    """

    widths = (32, 64)
    n_features = 2 * sum(widths)
    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        first, second = self.widths
        self.conv1 = nn.Conv2d(3, first, kernel_size=5, stride=2, bias=True)
        self.conv2 = nn.Conv2d(first, second, kernel_size=3, stride=2, bias=True)
        with torch.no_grad():
            for convolution in (self.conv1, self.conv2):
                spread = {"weight": math.sqrt(2 / convolution.weight[0].numel()), "bias": 0.5}
                for name, parameter in convolution.named_parameters():
                    parameter.normal_(0, spread[name], generator=generator)
            scale, shift = torch.std_mean(self._summaries(_drawn_textures(generator)), dim=0)
        # A filter that hardly responds would otherwise be blown up to noise.
        self.register_buffer("scale", scale.clamp(min=float(scale.median()) / 10))
        self.register_buffer("shift", shift)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) as (B, 192)."""
        # At half the scale a nucleus still spans eight pixels, for a quarter of the work.
        return (self._summaries(nn.functional.avg_pool2d(patches, 2)) - self.shift) / self.scale

    def _summaries(self, x: torch.Tensor) -> torch.Tensor:
        summaries = []
        for convolution in (self.conv1, self.conv2):
            x = convolution(x).relu_()
            variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
            summaries += [mean, variance.sqrt()]
        return torch.cat(summaries, dim=1)


def _drawn_textures(generator: torch.Generator, count: int = 96, size: int = 112) -> torch.Tensor:
    """Draw patches of blobs of haematoxylin on clouds of eosin, at 1 um/px, as the encoder is given them.

    The amount of each stain, the density and the size of the blobs vary evenly from patch to patch.
    """
    stains = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # Ruifrok and Johnston's optical densities

    def clouds(cells: int) -> torch.Tensor:
        noise = torch.randn((1, count, cells, cells), generator=generator)
        return nn.functional.interpolate(noise, size=(size, size), mode="bicubic")[0]

    def amount(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand((count, 1, 1), generator=generator)

    blobs = torch.where(torch.rand((count, 1, 1), generator=generator) < 0.5, clouds(14), clouds(9))
    haematoxylin = amount(0.05, 0.3) + amount(0.6, 1.6) * (blobs > amount(0.4, 2.2))
    eosin = amount(0.2, 0.9) * (1 + 0.5 * clouds(5) + 0.5 * clouds(50)).clamp(min=0)
    density = torch.einsum("snhw,sc->nchw", torch.stack([haematoxylin, eosin]), stains)
    return (torch.exp(-density) - SEEDED_MEAN[0]) / SEEDED_STD[0]
