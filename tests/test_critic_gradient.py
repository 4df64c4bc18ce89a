"""The written-out gradient of the critic, compared with autograd's double backward in float64."""

import pytest
import torch
from conftest import tiny
from torch import nn
from torch.testing import assert_close

from facegan.networks import build_critic
from facegan.presets import PRESETS
from facegan.training import critic_gradient, losses
from facegan.training.critic_gradient import critic_gradients, why_not

COVERED = [name for name in PRESETS if why_not(build_critic(PRESETS[name])) is None]


def batch(size: int, count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, count, 3, size, size, generator=generator, dtype=torch.float64) * 2 - 1
    return images[0], images[1], torch.rand(count, 1, 1, 1, generator=generator, dtype=torch.float64)


def ours(critic, reals, fakes, share, objective="wgan-gp"):
    options = {"objective": losses.OBJECTIVES[objective], "penalty_weight": 10, "dtype": torch.float64}
    metrics = critic_gradients(critic, reals, fakes, share, **options)
    gradients = [p.grad.clone() for p in critic.parameters()]
    for gradient, parameter in zip(gradients, critic.parameters(), strict=True):
        assert gradient.stride() == parameter.stride(), "fused Adam would misread it"
    return metrics, gradients


def double_backward(critic, reals, fakes, share, objective="wgan-gp"):
    """The critic's loss as its paper writes it and autograd differentiates it: metrics and gradients."""
    critic.zero_grad()
    real, fake = critic(reals), critic(fakes)
    if objective == "wgan-gp":  # Gulrajani et al. 2017, eq. 3
        norms = losses.slope_norms(critic, losses.mix(reals, fakes, share))
        penalty = ((norms - 1) ** 2).mean()
        loss = 10 * penalty - (real.mean() - fake.mean())
    else:  # Huang et al. 2024, eq. 2, 3 and 4, with gamma = 10
        norms = torch.cat([losses.slope_norms(critic, reals), losses.slope_norms(critic, fakes)])
        penalty = (norms**2).mean()
        loss = torch.log(1 + torch.exp(fake - real)).mean() + 10 / 2 * 2 * penalty
    loss.backward()
    distance = real.mean() - fake.mean()
    metrics = {"penalty": penalty, "slope": norms.mean(), "wasserstein": distance, "critic_loss": loss}
    return metrics, [p.grad for p in critic.parameters()]


def with_biases(critic: nn.Module) -> nn.Module:
    """In float64, and with biases and gains that are not all zero, which they are at first."""
    critic = critic.double()
    generator = torch.Generator().manual_seed(1)
    for parameter in critic.parameters():
        if parameter.dim() <= 1:
            parameter.data.normal_(0, 0.05 if parameter.dim() else 1, generator=generator)
    return critic


def test_which_critics_are_covered():
    assert COVERED == ["dcgan-r3gan", "dcgan-r3gan-large", "dcgan", "keras-faces-64", "keras-faces-128"]
    assert "batch norm" in (why_not(build_critic(PRESETS["human-faces"])) or "")
    dropping = PRESETS["keras-faces-64"].override({"networks.critic_dropout": 0.5})
    assert "dropout" in (why_not(build_critic(dropping)) or "")


@pytest.mark.parametrize("objective", losses.OBJECTIVES)
@pytest.mark.parametrize("whole", [True, False], ids=["as it is", "tiny"])
@pytest.mark.parametrize("preset", COVERED)
def test_equals_double_backward(preset, whole, objective):
    config = PRESETS[preset] if whole else tiny(preset)
    critic = with_biases(build_critic(config))
    images = batch(config.networks.size)
    metrics, gradients = ours(critic, *images, objective)
    expected, expected_gradients = double_backward(critic, *images, objective)
    for name, value in expected.items():
        assert_close(metrics[name], value.detach(), rtol=1e-10, atol=1e-14)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        assert (gradient - reference).norm() <= 1e-10 * reference.norm() + 1e-15


@pytest.mark.parametrize("objective", losses.OBJECTIVES)
@pytest.mark.parametrize("gains", ["as they begin", "grown"])
@pytest.mark.parametrize("small", [0, 4, 99])
def test_residual_blocks(small, gains, objective, monkeypatch):
    """A sum is as linear as a product; and a block whose gain is zero gets a gradient for the gain alone."""
    monkeypatch.setattr(critic_gradient, "_SMALL_MAP", small)
    critic = with_biases(build_critic(tiny("dcgan").override({"networks.critic_depth": 2})))
    if gains == "as they begin":
        critic.load_state_dict({k: v * 0 if k.endswith("gain") else v for k, v in critic.state_dict().items()})
    assert why_not(critic) is None
    images = batch(32)
    metrics, gradients = ours(critic, *images, objective)
    expected, expected_gradients = double_backward(critic, *images, objective)
    assert_close(metrics["critic_loss"], expected["critic_loss"].detach(), rtol=1e-10, atol=1e-14)
    named = dict(critic.named_parameters())
    for name, gradient, reference in zip(named, gradients, expected_gradients, strict=True):
        assert (gradient - reference).norm() <= 1e-10 * reference.norm() + 1e-15, name
        assert reference.any() != ((gains == "as they begin" and ".convolution." in name) or name == "score.bias")


@pytest.mark.parametrize("small", [0, 99], ids=["directly", "as matrix products"])
def test_both_kinds_of_convolution(small, monkeypatch):
    monkeypatch.setattr(critic_gradient, "_SMALL_MAP", small)
    for objective in losses.OBJECTIVES:
        test_equals_double_backward("keras-faces-64", False, objective)


class Chain(nn.Module):
    """Two convolutions, of any kernel, padding and stride."""

    def __init__(self, kernel: int, padding: int, stride: int) -> None:
        super().__init__()
        first = nn.Conv2d(3, 4, kernel, padding=padding, stride=stride)
        side = (16 + 2 * padding - kernel) // stride + 1
        self.chain = nn.Sequential(first, nn.LeakyReLU(0.1), nn.Conv2d(4, 5, 3, padding=1), nn.LeakyReLU(0.3))
        self.score = nn.Linear(5 * side * side, 1)

    def layers(self) -> list[nn.Module]:
        return [*self.chain, self.score]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.score(self.chain(x).flatten(1)).squeeze(1)


@pytest.mark.parametrize("geometry", [(7, 3, 2), (5, 0, 2), (3, 1, 1), (4, 1, 2), (2, 0, 2)])
def test_any_kernel_padding_and_stride(geometry):
    critic = with_biases(Chain(*geometry))
    assert why_not(critic) is None
    images = batch(16)
    _, gradients = ours(critic, *images)
    _, expected = double_backward(critic, *images)
    for gradient, reference in zip(gradients, expected, strict=True):
        assert_close(gradient, reference, rtol=1e-9, atol=1e-13)


def test_a_critic_without_slope_is_pulled_nowhere():
    """Where the slope is zero its direction is not defined: the gradient is zero, not NaN."""
    critic = with_biases(build_critic(tiny("dcgan")))
    nn.init.zeros_(critic.score.weight)
    metrics, _ = ours(critic, *batch(32))
    assert metrics["penalty"] == 1 and metrics["slope"] == 0
    assert all(not p.grad.any() for name, p in critic.downsample.named_parameters())


@pytest.mark.parametrize(
    "body",
    [
        [nn.Conv2d(3, 4, 3), nn.ReLU()],
        [nn.Conv2d(3, 4, 3, groups=1, dilation=2), nn.LeakyReLU(0.2)],
        [nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.LeakyReLU(0.2)],
        [nn.Conv2d(3, 4, 3)],
        [nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Dropout(0.5)],
    ],
)
def test_other_critics_are_not(body):
    critic = nn.Module()
    critic.layers = lambda: [*body, nn.Linear(4, 1)]
    assert why_not(critic)
    assert why_not(nn.Linear(3, 1)) == "it does not list its layers"
