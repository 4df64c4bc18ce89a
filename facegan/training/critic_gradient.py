"""The critic's gradient written out: no second-order autograd, no graph, ten convolution passes instead of twelve.

Between the kinks of LeakyReLU a critic of convolutions, LeakyReLU and a last linear layer is a linear map of its input.
So a penalty on slopes needs no double backward. Let g = dD/dx at an image and v = d penalty / dg. With v held fixed,
the penalty's gradient in the weights is that of <v, g>: how fast the score changes when the image moves along v. That
is a tangent pass, v pushed forward through the same convolutions, without biases, and the LeakyReLU masks that the
image left behind. It is linear in every layer's weights: each gradient is one weight-gradient pass between the tangents
that enter a layer and the deltas that leave it.

All kinds of images go through each sweep in one batch. A penalty at mixed images, as of WGAN-GP, adds a third kind; one
at the real images and the fakes themselves, R1 + R2, shares their deltas, and needs eight passes:

                                                WGAN-GP                          R1 + R2
    forward    activations                      real  fake  mixed   3 passes     real  fake   2 passes
    backward   deltas d(score)/d(activation)    real  fake  mixed   3            real  fake   2
    tangent    v instead of activations                     mixed   1            real  fake   2
    weights    deltas x what entered the layer  real  fake  tangents 3           both in one  2

Deltas are of the score alone. A weight's gradient is a sum over images of delta x input, linear in the input, so the
loss's derivative in the score multiplies the input there, and the tangent is added to it.

`docs/mathematics.md` derives it. The textbook's double backward computes the same numbers, and the tests hold this
module to it in float64.
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
"""A slope below this has no direction: the penalty's gradient is taken as zero there, as autograd takes it."""
_ALL = slice(None)
_SMALL_MAP = 4
"""Maps of up to so many pixels a side leave direct convolutions on a CPU at half of their speed; matrices do not."""

_DROPS = "dropout drops other units in each pass"
_NOT_COVERED: dict[type[nn.Module], str] = {
    nn.BatchNorm2d: "batch norm makes each score depend on the whole batch",
    nn.Dropout: _DROPS,
}


def why_not(critic: nn.Module) -> str | None:
    """None where `critic_gradients` computes this critic's update, else the reason in words.

    Covered are critics whose `layers()`, in the order in which they act, are (convolution, LeakyReLU) or residual
    blocks of these, any number of times, and then one linear layer: piecewise linear, each image on its own. A turn of
    the images may come first.
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
    """What is done to images at the door (nothing, or a turn, which changes no norm), the chain, and the last layer.

    The chain is None where the layers between are not links of one.
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
    """Whether it is a convolution with nothing to it but a kernel, a bias, a stride and zeros around."""
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
    """Write the gradient of the critic's loss into `.grad` of its parameters, and say what the loss is made of.

    L = objective.critic(D(real), D(fake)) + weight·mean((||dD(x)/dx|| - objective.slope)^2), with x the mixed images
    share·real + (1 - share)·fake, or the real images and the fakes.

    Args:
        critic: one for which `why_not` has no reason.
        reals, fakes: (B, 3, H, W) in the critic's unit.
        share: (B, 1, 1, 1), uniform in [0, 1]; not looked at where nothing is mixed.
        penalty_weight: lambda, or gamma where the objective's slope is zero.
        dtype: of convolutions and activations. Scores, norms, the penalty and all sums over images are in the weights'
            own type whatever this is.

    Returns:
        Scalars `critic_real`, `critic_fake`, `wasserstein`, `penalty`, `slope`, `critic_loss`, as of the textbook step.
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

    # Backward: how each image's own score changes. What the score means for the loss enters with the weights' gradient.
    delta = weight_map.to(dtype).expand_as(last).contiguous(memory_format=torch.channels_last)
    for link in reversed(links[1:]):
        delta = link.backward(delta)
    gradients = links[0].backward(delta, penalised).to(scores.dtype)
    norms = gradients.flatten(1).norm(dim=1)
    penalty = losses.gradient_penalty(norms, objective.slope)
    tangents = (norms > _FLAT) * (1 - objective.slope / norms.clamp_min(_FLAT)) * (2 * penalty_weight / len(norms))

    # Tangents forward. What entered a layer is scaled by what its image's score means for the loss, the tangent of a
    # penalised image is added, and with the deltas that is the weights' gradient. Masks have then been used.
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
    """LeakyReLU(convolution(x)) in the four sweeps: what the forward sweep leaves behind, the others use."""

    def __init__(self, convolution: nn.Module, activation: nn.Module) -> None:
        assert isinstance(convolution, nn.Conv2d) and isinstance(activation, nn.LeakyReLU)
        self.parameters, self.slope = convolution, activation.negative_slope

    def forward(self, x: Tensor) -> Tensor:
        self.convolution = _layer(self.parameters, x)
        self.activated = F.leaky_relu_(self.convolution.forward(x), self.slope)
        return self.activated

    def backward(self, delta: Tensor, rows: slice = _ALL) -> Tensor:
        """d(score)/d(output) -> d(score)/d(input), of some rows only where no others are wanted."""
        self.delta = _through_mask(delta, self.activated, self.slope)
        return self.convolution.to_inputs(self.delta[rows], rows)

    def tangent(self, t: Tensor, rows: slice, scales: Tensor) -> Tensor:
        return _through_mask(self.convolution.tangent(t, rows, scales), self.activated[rows], self.slope)

    def store_gradients(self, coefficients: Tensor) -> None:
        """Of the whole loss, when the tangents have passed. `coefficients`: d(loss)/d(score) of each image."""
        assert self.parameters.bias is not None
        _store(self.parameters.weight, self.convolution.to_weights(self.delta))
        by_channel = self.delta.sum((2, 3), dtype=coefficients.dtype)
        _store(self.parameters.bias, coefficients.flatten() @ by_channel)  # tangents carry no bias


class _ResidualLink(_Link):
    """x + gain·LeakyReLU(convolution(x)). What holds for a product of linear maps holds for a sum of such products."""

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
        _store(self.gain, (self.summed * self.activated).sum(dtype=coefficients.dtype))


class _Convolution:
    """One convolution in the four sweeps. `inputs` is what entered it, of all kinds of images."""

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
        """Push `t` forward, and leave scales·inputs, plus `t` in its rows, for the weights' gradient."""
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
    """The same as matrix products: `columns` has a row of k·k·C inputs for every output pixel."""

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
    """The convolution that `x` is about to enter, in the form that is the faster one there."""
    assert conv.bias is not None
    stride, padding = conv.stride[0], int(conv.padding[0])
    small = x.device.type == "cpu" and x.shape[-1] // stride <= _SMALL_MAP
    return (_Unfolded if small else _Convolution)(conv.weight.to(x.dtype), conv.bias.to(x.dtype), stride, padding)


def _through_mask(delta: Tensor, y: Tensor, slope: float) -> Tensor:
    """LeakyReLU's derivative, read off its result: `delta` where it was positive, slope·delta elsewhere."""
    passed: Tensor = torch.ops.aten.leaky_relu_backward(delta, y, slope, True)
    return passed


def _store(parameter: Tensor, gradient: Tensor) -> None:
    """Into a tensor of the parameter's own strides: torch's fused Adam misreads a gradient that has others."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    parameter.grad.copy_(gradient)
