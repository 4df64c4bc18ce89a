import numpy as np
import pytest
import torch
from conftest import tiny
from torch.testing import assert_close

from facegan.networks import build_critic
from facegan.training import losses
from facegan.training.noise import draw_noise
from facegan.training.trainer import Trainer


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_exact(norm):
    """A critic w·x has the slope ||w|| everywhere, so the penalty is (||w|| - 1)^2 whatever the images."""
    w = torch.randn(3 * 8 * 8, dtype=torch.float64)
    w *= norm / w.norm()
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    norms = losses.slope_norms(lambda x: x.flatten(1) @ w, images)
    assert_close(losses.gradient_penalty(norms), torch.tensor((norm - 1) ** 2, dtype=norms.dtype), rtol=1e-5, atol=1e-6)


def test_mixing_by_hand():
    real, fake = torch.full((2, 1, 1, 1), 10.0), torch.full((2, 1, 1, 1), 20.0)
    share = torch.tensor([0.25, 1.0]).view(2, 1, 1, 1)
    assert losses.mix(real, fake, share).flatten().tolist() == [17.5, 10.0]


def test_losses_by_hand():
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, -2.0])
    assert losses.wasserstein_estimate(real, fake) == 4.5
    assert losses.generator_loss(fake) == 0.5


def test_relativistic_loss_by_hand():
    scores, others = torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0])
    expected = (np.log(2) + np.log(1 + np.exp(-1))) / 2
    assert losses.relativistic_loss(scores, others).item() == pytest.approx(expected, rel=1e-6)
    assert losses.relativistic_loss(others, scores) > losses.relativistic_loss(scores, others)


def test_penalty_gradient_against_finite_differences():
    torch.manual_seed(0)  # the step must not cross a kink of LeakyReLU, as some draws do
    critic = build_critic(tiny("dcgan")).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def penalty():
        norms = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0].flatten(1).norm(dim=1)
        return losses.gradient_penalty(norms)

    x = images.clone().requires_grad_(True)
    weight = critic.downsample[0].weight
    (analytic,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn_like(weight)
    step = 1e-6
    with torch.no_grad():
        weight += step * direction
    up = penalty().detach()
    with torch.no_grad():
        weight -= 2 * step * direction
    down = penalty().detach()
    assert_close((up - down) / (2 * step), (analytic * direction).sum(), rtol=1e-5, atol=1e-8)


def test_slope_unit_of_human_faces():
    """w·x of (0, 1) pixels with ||w|| = 1 has no penalty there; as a critic of [-1, 1] pixels its slope is one half."""
    config = tiny("human-faces").override({"networks.critic_dropout": 0.0})
    trainer = Trainer(config, torch.device("cpu"))
    w = torch.randn(3 * 32 * 32)
    w /= w.norm()

    class Linear(torch.nn.Module):
        mask_shapes = ()

        def forward(self, x):
            return x.flatten(1) @ w + 0 * self.unused

        unused = torch.zeros((), requires_grad=True)

    trainer.critic = Linear()
    reals = torch.rand(4, 3, 32, 32) * 2 - 1
    metrics = trainer.step(reals, draw_noise(config, 0, (), trainer.device))
    assert_close(metrics["slope"], torch.tensor(1.0))
    assert_close(metrics["penalty"], torch.tensor(0.0), atol=1e-6, rtol=0)
    exchanged = losses.slope_norms(lambda x: ((x + 1) / 2).flatten(1) @ w, reals)
    assert_close(exchanged, torch.full((4,), 0.5))
