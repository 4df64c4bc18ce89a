"""One of the processes that test_world.py starts: it compares training in parts with training in one process."""

from __future__ import annotations

import torch
from conftest import tiny
from test_trainer import in_double, reals
from torch.testing import assert_close

from facegan.core.world import ALONE, World, joined
from facegan.networks.sync_batch_norm import SynchronisedBatchNorm
from facegan.presets import PRESETS
from facegan.training.noise import draw_noise
from facegan.training.trainer import Trainer

CPU = torch.device("cpu")


def step(trainer: Trainer, dtype: torch.dtype) -> dict[str, float]:
    """One step on this process's part; its metrics averaged over all."""
    number = trainer.step_number
    noise = draw_noise(trainer.config, number, trainer.critic.mask_shapes, CPU, trainer.world)
    images = reals(number)[trainer.world.part(4)].to(dtype)
    metrics = trainer.step(images, in_double(noise) if dtype == torch.float64 else noise)
    return trainer.world.mean_of({name: float(value) for name, value in metrics.items()})


def everything(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Parameters and buffers of all networks, by name."""
    state = trainer.state()
    networks = {name: state[name] or {} for name in ("generator", "critic", "averaged_generator")}
    return {f"{name}.{key}": tensor for name, tensors in networks.items() for key, tensor in tensors.items()}


def ten_steps_in_double(preset: str, world: World, augment: float | str = 0) -> None:
    trainers = [Trainer(tiny(preset).override({"training.augment": augment}), CPU, each) for each in (world, ALONE)]
    for trainer in trainers:
        for network in (trainer.generator, trainer.critic, *([trainer.average.module] if trainer.average else [])):
            network.double()
    for _ in range(10):
        parts, whole = (step(trainer, torch.float64) for trainer in trainers)
        assert_close(parts, whole, rtol=1e-9, atol=1e-9)
    assert trainers[0].images_seen == trainers[1].images_seen == 40
    assert torch.equal(trainers[0].augment_probability, trainers[1].augment_probability)
    parts, whole = map(everything, trainers)
    for name, tensor in whole.items():
        # A bias before batch norm has no gradient but rounding, which Adam enlarges; the batch's mean takes it away.
        rounding = preset == "human-faces" and name.endswith((".conv.bias", ".norm.running_mean"))
        assert_close(parts[name], tensor, rtol=0, atol=1e-7 if rounding else 1e-9, msg=lambda m, n=name: f"{n}: {m}")


def one_gradient_in_single(preset: str, world: World) -> None:
    trainers = [Trainer(tiny(preset).override({"training.n_critic": 1}), CPU, each) for each in (world, ALONE)]
    for trainer in trainers:
        step(trainer, torch.float32)
    for name in ("critic", "generator"):
        parts, whole = (
            torch.cat([p.grad.flatten() for p in getattr(trainer, name).parameters()]) for trainer in trainers
        )
        assert (parts - whole).norm() <= 1e-4 * whole.norm(), f"{preset}: {name}"


def a_step_in_bf16(preset: str, world: World) -> None:
    """Statistics stay in float32 under autocast, near those of a process that is alone."""
    trainers = [Trainer(tiny(preset).override({"training.precision": "bf16"}), CPU, each) for each in (world, ALONE)]
    for trainer in trainers:
        step(trainer, torch.float32)
    parts, whole = ({k: v for k, v in everything(t).items() if "running" in k} for t in trainers)
    assert_close(parts, whole, rtol=0.02, atol=0.02)


def gradients_of_gradients(world: World) -> None:
    """Batch norm over two processes against torch's own, with its second derivatives, in float64."""
    torch.manual_seed(0)
    x, direction = torch.randn(6, 3, 2, 2, dtype=torch.float64), torch.randn(6, 3, 2, 2, dtype=torch.float64)
    results = []
    for each in (world, ALONE):
        norm = torch.nn.BatchNorm2d(3).double()
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        layer = norm if each.alone else SynchronisedBatchNorm(norm, each)
        mine = each.part(6)
        inputs = x[mine].clone().requires_grad_(True)
        (first,) = torch.autograd.grad((layer(inputs).tanh() * direction[mine]).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(first.square().sum(), (inputs, norm.weight))
        each.sum_(second[1])
        results.append((first.detach(), second[0], second[1], dict(norm.named_buffers())))
    parts, whole = results
    for part, total in zip(parts[:2], whole[:2], strict=True):
        assert_close(part, total[world.part(6)], rtol=0, atol=1e-12)
    assert_close(parts[2:], whole[2:], rtol=0, atol=1e-12)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as both:
        assert both.size == 2
        gradients_of_gradients(both)
        ten_steps_in_double("dcgan-r3gan", both, "auto")
        for name in PRESETS:
            ten_steps_in_double(name, both)
            one_gradient_in_single(name, both)
            a_step_in_bf16(name, both)
    print(f"{both}: all equal")
