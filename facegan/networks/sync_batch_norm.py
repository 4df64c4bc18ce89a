"""Batch norm over the global batch, for networks that several processes train together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facegan.core.device import widened
from facegan.core.world import World


class _Sum(torch.autograd.Function):
    """y = sum over all processes of x, the same y in each.

    Every process's loss may depend on y, so the gradient of x is the sum over all processes of dloss/dy. That is this
    same function again, which can therefore be differentiated any number of times.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, world: World) -> Tensor:
        ctx.world = world
        total = x.clone(memory_format=torch.contiguous_format)
        world.sum_(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradients[0], ctx.world), None


class SynchronisedBatchNorm(_BatchNorm):
    """Batch norm that uses the mean and variance of the global batch while training; in eval mode nothing changes.

    Each process computes the mean m and variance v of its share of the batch; all shares are equal. The processes
    exchange them, and the global ones are mean(m) and mean(v) + var(m) (Chan et al. 1979, eq. 2.1, for equal shares).
    This takes one message, and no difference of large numbers. It is computed in float32 at least, whatever autocast
    says.

    Args:
        norm: torch's layer, whose parameters and buffers are shared, so a state dict has the same keys.
        world: the processes. All call the layer at the same time, each with the same number of images.
    """

    def __init__(self, norm: _BatchNorm, world: World) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        assert norm.momentum is not None and norm.affine and norm.track_running_stats
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.world = world
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.dim() in (2, 4)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = widened(input)
        across = [axis for axis in range(x.dim()) if axis != 1]
        mean, variance = self._global_moments(x, across)
        self._follow(mean, variance, count=x.numel() // x.shape[1] * self.world.size)
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias.view(shape), x - mean.view(shape), scale.view(shape)).to(input.dtype)

    def _global_moments(self, x: Tensor, across: list[int]) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(x, across, correction=0)
        # Each process writes its numbers into its own row among zeros, so the sum holds the numbers of all.
        mine = (torch.arange(self.world.size, device=x.device) == self.world.rank).to(x.dtype).view(-1, 1, 1)
        means, variances = _Sum.apply(mine * torch.stack((mean, variance)), self.world).unbind(1)
        return means.mean(0), variances.mean(0) + means.var(0, correction=0)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics as torch does: with the unbiased variance, times count / (count - 1)."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def synchronise_batch_norm(network: nn.Module, world: World) -> None:
    """Replace each batch norm inside `network` by one over the global batch; nothing to do where `world` is alone."""
    if world.alone:
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
                setattr(parent, name, SynchronisedBatchNorm(child, world))
