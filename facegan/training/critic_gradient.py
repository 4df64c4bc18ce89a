"""The critic's gradient written out: no second-order autograd, no graph, ten convolution passes instead of twelve.

A critic of convolutions, LeakyReLU and a last linear layer is a linear map of its input between the kinks of LeakyReLU.
So a penalty on slopes needs no double backward. Let g = dD/dx at an image and v = d penalty / dg. With v held fixed,
the penalty's gradient in the weights is that of <v, g>, which is how fast the score changes when the image moves along
v. A tangent pass computes <v, g>: it pushes v forward through the same convolutions, without their biases, and through
the LeakyReLU masks that the forward pass of the image has set. <v, g> is linear in every layer's weights, so each
layer's gradient is one weight-gradient pass between the tangents that enter the layer and the deltas that leave it.

All kinds of images go through each sweep in one batch. A penalty at mixed images, as in WGAN-GP, adds a third kind. A
penalty at the real images and the fakes themselves, R1 + R2, uses their deltas and needs eight passes in all:

                                                WGAN-GP                          R1 + R2
    forward    activations                      real  fake  mixed   3 passes     real  fake   2 passes
    backward   deltas d(score)/d(activation)    real  fake  mixed   3            real  fake   2
    tangent    v instead of activations                     mixed   1            real  fake   2
    weights    deltas x what entered the layer  real  fake  tangents 3           both in one  2

Deltas are derivatives of the score, not of the loss. A weight's gradient is a sum over images of delta x input. It is
linear in the input, so each image's input is multiplied by the loss's derivative in that image's score, and the image's
tangent is added.

`docs/mathematics.md` has the derivation. The textbook's double backward computes the same numbers, and the tests
compare the two in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegan.networks.dcgan import CriticResidual
from facegan.networks.keras import HalvingConv2d, Turn
from facegan.networks.subpixel import transposed_convolution
from facegan.training import losses

_FLAT = 1e-12
"""A slope below this has no direction: the penalty's gradient is set to zero there, as autograd does."""
_ALL = slice(None)
_SMALL_MAP = 4
"""On a CPU, maps of up to this many pixels a side halve the speed of convolutions, but not that of matrix products."""

_DROPS = "dropout drops different units in each pass"
_NOT_COVERED: dict[type[nn.Module], str] = {
    nn.BatchNorm2d: "batch norm makes each score depend on the whole batch",
    nn.Dropout: _DROPS,
}


def why_not(critic: nn.Module) -> str | None:
    """Why `critic_gradients` cannot compute this critic's update, in words; None if it can.

    It can if the critic is piecewise linear and scores each image on its own: its `layers()`, in the order in which
    they act, are any number of pairs (convolution, LeakyReLU) or residual blocks of these, and then one linear layer. A
    `Turn` of the images may come first.
    """
    if not hasattr(critic, "layers"):
        return "it does not list its layers"
    for layer in critic.layers():  # type: ignore[operator]
        if type(layer) in _NOT_COVERED:
            return _NOT_COVERED[type(layer)]
    if getattr(critic, "mask_shapes", ()):  # of units that its forward drops
        return _DROPS
    _, links, last = _parts(critic)
    if links is None or type(last) is not nn.Linear or last.bias is None:
        return "it is not a chain of convolutions and LeakyReLU that ends in one linear layer"
    return None


def _parts(critic: nn.Module) -> tuple[nn.Module, list[_Link] | None, nn.Module]:
    """Split a critic into a first layer (a `Turn`, which changes no norm, or identity), the links, and the last layer.

    The links are None if a layer between them is not covered.
    """
    layers: list[nn.Module] = critic.layers()  # type: ignore[operator]
    *body, last = layers
    door = body.pop(0) if body and type(body[0]) is Turn else nn.Identity()
    links: list[_Link] = []
    while body:
        first = body.pop(0)
        if type(first) is CriticResidual:
            links.append(_ResidualLink(first.convolution, first.activation, first.gain))
        elif _plain(first) and body and type(body[0]) is nn.LeakyReLU:
            links.append(_Link(first, body.pop(0)))
        else:
            return door, None, last
    return door, links, last


def _plain(layer: nn.Module) -> bool:
    """Whether a layer is a plain convolution: square, with a bias and zero padding, without groups and dilation."""
    if type(layer) not in (nn.Conv2d, HalvingConv2d):
        return False
    assert isinstance(layer, nn.Conv2d)
    square = all(len(set(pair)) == 1 for pair in (layer.kernel_size, layer.stride, layer.padding))
    usual = (layer.groups, layer.dilation, layer.padding_mode) == (1, (1, 1), "zeros")
    return square and usual and isinstance(layer.padding, tuple) and layer.bias is not None


@torch.no_grad()
def critic_gradients(
    critic: nn.Module,
    reals: Tensor,
    fakes: Tensor,
    share: Tensor,
    *,
    objective: losses.Objective,
    penalty_weight: float,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Write the gradient of the critic's loss into `.grad` of its parameters, and return the parts of the loss.

    Layers whose weights need no gradient get none.

    L = objective.critic(D(real), D(fake)) + weight·mean((||dD(x)/dx|| - objective.slope)^2), with x the mixed images
    share·real + (1 - share)·fake, or the real images and the fakes.

    Args:
        critic: one for which `why_not` has no reason.
        reals, fakes: (B, 3, H, W) in the critic's unit.
        share: (B, 1, 1, 1), uniform in [0, 1]; not used where nothing is mixed.
        penalty_weight: lambda, or gamma where the objective's slope is zero.
        dtype: of convolutions and activations. Scores, norms, the penalty and all sums over images always have the
            weights' own type.

    Returns:
        Scalars `critic_real`, `critic_fake`, `wasserstein`, `ordered`, `penalty`, `slope`, `critic_loss`, as in the
        textbook step.
    """
    door, links, score = _parts(critic)
    assert links and isinstance(score, nn.Linear)
    batch = len(reals)
    real, fake, mixed = (slice(k * batch, (k + 1) * batch) for k in range(3))
    penalised = mixed if objective.mixes else slice(0, 2 * batch)

    # Forward, on all kinds of images at once.
    x = torch.cat([reals, fakes, losses.mix(reals, fakes, share)] if objective.mixes else [reals, fakes])
    x = door(x).to(dtype, memory_format=torch.channels_last)
    for link in links:
        x = link.forward(x)
    last = x
    weight_map = score.weight.view(last.shape[1:])
    scores = (last * weight_map).sum((1, 2, 3)) + score.bias
    loss, coefficients = _by_score(objective, scores, batch)

    # Backward: the derivative of each image's own score. The loss's derivative in the score enters only with the
    # weights' gradient.
    delta = weight_map.to(dtype).expand_as(last).contiguous(memory_format=torch.channels_last)
    for link in reversed(links[1:]):
        delta = link.backward(delta)
    gradients = links[0].backward(delta, penalised).to(scores.dtype)
    norms = gradients.flatten(1).norm(dim=1)
    penalty = losses.gradient_penalty(norms, objective.slope)
    tangents = (norms > _FLAT) * (1 - objective.slope / norms.clamp_min(_FLAT)) * (2 * penalty_weight / len(norms))

    # Tangents forward. Each layer's input is scaled by the loss's derivative in the image's score, and the tangent of a
    # penalised image is added; with the deltas this gives the weights' gradient. The inputs are overwritten, which is
    # safe: the masks that are read from them have been used by then.
    scales = coefficients.to(dtype)
    tangent = (tangents.view(-1, 1, 1, 1) * gradients).to(dtype, memory_format=torch.channels_last)
    for link in links:
        tangent = link.tangent(tangent, penalised, scales)
        link.store_gradients(coefficients)
    last = coefficients * last
    last[penalised] += tangent
    _store(score.weight, last.sum(0).reshape(score.weight.shape))
    score.bias.grad = torch.zeros_like(score.bias)  # only differences of scores count

    return {
        "critic_real": scores[real].mean(),
        "critic_fake": scores[fake].mean(),
        "wasserstein": losses.wasserstein_estimate(scores[real], scores[fake]),
        "ordered": losses.ordered(scores[real], scores[fake]),
        "penalty": penalty,
        "slope": norms.mean(),
        "critic_loss": loss + penalty_weight * penalty,
    }


@torch.enable_grad()
def _by_score(objective: losses.Objective, scores: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """The critic's loss without its penalty, and its derivative in every score, (rows, 1, 1, 1); 0 for mixed images."""
    scores = scores.detach().requires_grad_(True)
    loss = objective.critic(scores[:batch], scores[batch : 2 * batch])
    (coefficients,) = torch.autograd.grad(loss, scores)
    return loss.detach(), coefficients.view(-1, 1, 1, 1)


class _Link:
    """LeakyReLU(convolution(x)) in the four sweeps. The forward sweep keeps what the other three need."""

    def __init__(self, convolution: nn.Module, activation: nn.Module) -> None:
        assert isinstance(convolution, nn.Conv2d) and isinstance(activation, nn.LeakyReLU)
        self.parameters, self.slope = convolution, activation.negative_slope

    def forward(self, x: Tensor) -> Tensor:
        self.convolution = _layer(self.parameters, x)
        self.activated = F.leaky_relu_(self.convolution.forward(x), self.slope)
        return self.activated

    def backward(self, delta: Tensor, rows: slice = _ALL) -> Tensor:
        """d(score)/d(output) -> d(score)/d(input), computed for `rows` of the batch only."""
        self.delta = _through_mask(delta, self.activated, self.slope)
        return self.convolution.to_inputs(self.delta[rows], rows)

    def tangent(self, t: Tensor, rows: slice, scales: Tensor) -> Tensor:
        return _through_mask(self.convolution.tangent(t, rows, scales), self.activated[rows], self.slope)

    def store_gradients(self, coefficients: Tensor) -> None:
        """Store the gradients of the whole loss, after `tangent`. `coefficients`: d(loss)/d(score) of each image."""
        if not self.parameters.weight.requires_grad:  # a frozen layer
            return
        assert self.parameters.bias is not None
        _store(self.parameters.weight, self.convolution.to_weights(self.delta))
        by_channel = self.delta.sum((2, 3), dtype=coefficients.dtype)
        _store(self.parameters.bias, coefficients.flatten() @ by_channel)  # tangents carry no bias


class _ResidualLink(_Link):
    """x + gain·LeakyReLU(convolution(x)), which is a linear map between the kinks too, so the same sweeps apply."""

    def __init__(self, convolution: nn.Module, activation: nn.Module, gain: nn.Parameter) -> None:
        super().__init__(convolution, activation)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, super().forward(x) * self.gain)

    def backward(self, delta: Tensor, rows: slice = _ALL) -> Tensor:
        self.summed = delta
        return delta[rows] + super().backward(delta * self.gain, rows)

    def tangent(self, t: Tensor, rows: slice, scales: Tensor) -> Tensor:
        branch = super().tangent(t, rows, scales)
        self.activated.mul_(scales)  # its mask has been used
        self.activated[rows] += branch
        return t + branch * self.gain

    def store_gradients(self, coefficients: Tensor) -> None:
        super().store_gradients(coefficients)
        if self.gain.requires_grad:
            _store(self.gain, (self.summed * self.activated).sum(dtype=coefficients.dtype))


class _Convolution:
    """One convolution in the four sweeps. `inputs` holds what entered it, for all kinds of images."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: int) -> None:
        self.weight, self.bias, self.stride, self.padding = weight, bias, stride, padding
        self.inputs = weight

    def forward(self, x: Tensor) -> Tensor:
        self.inputs = x
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def to_inputs(self, delta: Tensor, rows: slice = _ALL) -> Tensor:
        kernel, few = self.weight.shape[-1], self.weight.shape[1] <= 3
        if few and self.stride == 2 and 3 <= kernel <= 5 and self.padding == (kernel - 1) // 2:
            return transposed_convolution(delta, self.weight, self.padding)
        return self._backward(delta, self.inputs[rows], (True, False, False))[0]

    def tangent(self, t: Tensor, rows: slice, scales: Tensor) -> Tensor:
        """Push `t` forward, and turn `inputs` into scales·inputs, plus `t` in its rows, for the weights' gradient."""
        self.inputs.mul_(scales)
        self.inputs[rows] += t
        return F.conv2d(t, self.weight, None, self.stride, self.padding)

    def to_weights(self, delta: Tensor) -> Tensor:
        return self._backward(delta, self.inputs, (False, True, False))[1]

    def _backward(self, delta: Tensor, inputs: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, ...]:
        geometry = [self.stride] * 2, [self.padding] * 2, [1, 1], False, [0, 0], 1
        backward: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
            delta, inputs, self.weight, None, *geometry, wanted
        )
        return backward


class _Unfolded(_Convolution):
    """The same convolution as a matrix product: `columns` has a row of k·k·C inputs for every output pixel."""

    def forward(self, x: Tensor) -> Tensor:
        self.inputs, self.columns = x, self._unfold(x)
        return self._fold(torch.addmm(self.bias, self.columns, self._matrix().T), len(x))

    def tangent(self, t: Tensor, rows: slice, scales: Tensor) -> Tensor:
        tangents = self._unfold(t)
        by_image = self.columns.view(len(self.inputs), -1)
        by_image.mul_(scales.flatten(1))
        by_image[rows] += tangents.view(len(t), -1)
        return self._fold(tangents @ self._matrix().T, len(t))

    def to_weights(self, delta: Tensor) -> Tensor:
        out, channels, k, _ = self.weight.shape
        product = delta.permute(0, 2, 3, 1).reshape(-1, out).T @ self.columns
        return product.view(out, k, k, channels).permute(0, 3, 1, 2)

    def _matrix(self) -> Tensor:
        return self.weight.permute(0, 2, 3, 1).flatten(1)

    def _unfold(self, x: Tensor) -> Tensor:
        k, p = self.weight.shape[-1], self.padding
        patches = F.pad(x.permute(0, 2, 3, 1), (0, 0, p, p, p, p)).unfold(1, k, self.stride).unfold(2, k, self.stride)
        return patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, k * k * x.shape[1])

    @staticmethod
    def _fold(rows: Tensor, images: int) -> Tensor:
        side = round((len(rows) // images) ** 0.5)
        return rows.view(images, side, side, -1).permute(0, 3, 1, 2)


def _layer(conv: nn.Conv2d, x: Tensor) -> _Convolution:
    """The convolution in the form that is faster for the input `x`."""
    assert conv.bias is not None
    stride, padding = conv.stride[0], int(conv.padding[0])
    small = x.device.type == "cpu" and x.shape[-1] // stride <= _SMALL_MAP
    return (_Unfolded if small else _Convolution)(conv.weight.to(x.dtype), conv.bias.to(x.dtype), stride, padding)


def _through_mask(delta: Tensor, y: Tensor, slope: float) -> Tensor:
    """Multiply by LeakyReLU's derivative, known from its result `y`: `delta` where y > 0, slope·delta elsewhere."""
    passed: Tensor = torch.ops.aten.leaky_relu_backward(delta, y, slope, True)
    return passed


def _store(parameter: Tensor, gradient: Tensor) -> None:
    """Copy into a tensor with the parameter's own strides: torch's fused Adam misreads a gradient with others."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    parameter.grad.copy_(gradient)
