import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny
from torch.testing import assert_close

from facegan.config import Adam
from facegan.core.errors import FaceganError
from facegan.presets import PRESETS
from facegan.training.augment import augment
from facegan.training.ema import AveragedGenerator
from facegan.training.noise import StepNoise, draw_noise, ends_cycle
from facegan.training.trainer import Trainer

CPU = torch.device("cpu")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def reals(step: int, batch: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(step).uniform(-1, 1, (batch, 3, 32, 32)).astype(np.float32))


def run(trainer: Trainer, steps: int) -> list[dict[str, torch.Tensor]]:
    rows = []
    for _ in range(steps):
        noise = draw_noise(trainer.config, trainer.step_number, trainer.critic.mask_shapes, CPU)
        rows.append(trainer.step(reals(trainer.step_number), noise))
    return rows


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def in_double(noise: StepNoise) -> StepNoise:
    tensors = {name: value for name, value in vars(noise).items() if isinstance(value, torch.Tensor)}
    return replace(noise, **{name: value.double() for name, value in tensors.items()})


def assign_gradient(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    """Fused Adam misreads a gradient whose strides are not its weight's; backward() takes care of that, we must too."""
    parameter.grad = torch.empty_like(parameter).copy_(gradient)


@pytest.mark.parametrize("changed", [0, 0.5], ids=["as they are", "augmented"])
@pytest.mark.parametrize(
    ("objective", "update"), [("wgan-gp", "alternating"), ("wgan-gp", "joint"), ("r3gan", "alternating")]
)
@pytest.mark.parametrize("preset", PRESETS)
def test_one_step_is_the_textbook(preset, objective, update, changed):
    """The first step against the papers' algorithms, written out here with plain autograd."""
    config = tiny(preset)
    training = replace(
        config.training,
        n_critic=1,
        update=update,
        objective=objective,
        penalty_weight=10,
        critic_warm_up=0,
        augment=changed,
    )
    config = replace(config, training=training)
    trainer, reference = Trainer(config, CPU), Trainer(config, CPU)
    for each in (trainer, reference):
        for network in (each.generator, each.critic, *([each.average.module] if each.average else [])):
            network.double()
    noise = in_double(draw_noise(config, 0, trainer.critic.mask_shapes, CPU))
    generator, critic = reference.generator, reference.critic
    keep = noise.keep or (None, None, None)

    def score(x, masks):
        return critic(x, masks) if masks else critic(x)

    def slopes(x, masks):
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(score(x, masks).sum(), x, create_graph=True)[0].flatten(1).norm(dim=1)

    def generator_loss(real_scores, fake_scores):
        if objective == "wgan-gp":
            return -fake_scores.mean()
        return torch.log(1 + torch.exp(real_scores - fake_scores)).mean()

    def seen(x, use):
        return augment(x, noise.augment[use], changed, config.networks.pixel_range) if changed else x

    low = config.networks.pixel_range[0]
    batch = reals(0).double()
    real = seen(batch if low == -1 else (batch + 1) / 2, 0)
    fake = seen(generator(noise.critic_latents), 1)
    real_scores, fake_scores = score(real, keep[0]), score(fake, keep[1])
    if objective == "wgan-gp":
        penalty = ((slopes(noise.mix * real + (1 - noise.mix) * fake, keep[2]) - 1) ** 2).mean()
        loss = fake_scores.mean() - real_scores.mean() + 10 * penalty
    else:
        penalty = (slopes(real, keep[0]) ** 2).mean() + (slopes(fake, keep[1]) ** 2).mean()
        loss = torch.log(1 + torch.exp(fake_scores - real_scores)).mean() + 10 / 2 * penalty
    critic_gradients = torch.autograd.grad(loss, list(critic.parameters()), retain_graph=True)
    if update == "joint":
        own = generator_loss(real_scores, fake_scores)
        generator_gradients = torch.autograd.grad(own, list(generator.parameters()))
    for parameter, gradient in zip(critic.parameters(), critic_gradients, strict=True):
        assign_gradient(parameter, gradient)
    reference.critic_optimiser.step()
    if update == "alternating":
        own = generator_loss(score(real, None), score(seen(generator(noise.generator_latents), 2), None))
        generator_gradients = torch.autograd.grad(own, list(generator.parameters()))
    for parameter, gradient in zip(generator.parameters(), generator_gradients, strict=True):
        assign_gradient(parameter, gradient)
    reference.generator_optimiser.step()

    metrics = trainer.step(batch, noise)
    assert_close(metrics["critic_loss"], loss.detach())
    assert_close(metrics["generator_loss"], own.detach())
    for ours, expected in ((trainer.critic, critic), (trainer.generator, generator)):
        for a, b in zip(ours.parameters(), expected.parameters(), strict=True):
            assert_close(a.grad, b.grad)
            assert_close(a, b)


def test_generator_moves_at_the_end_of_a_cycle_only():
    trainer = Trainer(tiny("keras-faces-64"), CPU)
    for step in range(10):
        before = snapshot(trainer.generator)
        (metrics,) = run(trainer, 1)
        moved = any(not torch.equal(before[name], t) for name, t in trainer.generator.named_parameters())
        assert moved == ends_cycle(trainer.config, step) == ("generator_loss" in metrics) == (step in (4, 9))


def adapting(preset: str = "dcgan-r3gan") -> Trainer:
    return Trainer(tiny(preset).override({"training.augment": "auto"}), CPU)


@pytest.mark.parametrize("preset", ["dcgan-r3gan", "human-faces"], ids=["written out", "autograd, joint"])
@pytest.mark.parametrize("ordered", [0.5, 1.0])
def test_changes_follow_the_critic(preset, ordered, monkeypatch):
    """Up while the critic puts all pairs in order, down while it guesses; a row holds what the step was made with."""
    monkeypatch.setattr("facegan.training.losses.ordered", lambda real, fake: torch.tensor(ordered))
    trainer = adapting(preset)
    trainer.augment_probability.fill_(0.3)
    rows = [float(row["augment"]) for row in run(trainer, 3)]
    assert rows[0] == pytest.approx(0.3)
    assert (rows[0] < rows[1] < rows[2]) == (ordered == 1) and len(set(rows)) == 3


def test_a_run_that_adapts_begins_without_changes_and_goes_on_where_it_was():
    plain, whole, stopped, resumed = Trainer(tiny("dcgan-r3gan"), CPU), adapting(), adapting(), adapting()
    for trainer in (plain, whole, stopped):
        run(trainer, 1)
    assert_same(plain.critic.state_dict(), whole.critic.state_dict())
    for trainer in (whole, stopped):
        trainer.augment_probability.fill_(0.4)
    resumed.load_state(stopped.state())
    for trainer in (whole, resumed):
        run(trainer, 2)
    assert_same(whole.state(), resumed.state())
    assert float(resumed.augment_probability) != pytest.approx(0.4)


@pytest.mark.parametrize("preset", ["dcgan-r3gan", "keras-faces-64", "human-faces"])
def test_frozen_layers_stay_and_the_others_learn_as_before(preset):
    """The other layers' first gradients are those of a run that freezes nothing."""
    whole, part = (Trainer(tiny(preset).override({"training.freeze": count}), CPU) for count in (0, 2))
    before = snapshot(part.critic)
    run(whole, 1), run(part, 1)
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in before if not name.endswith(STATISTICS)))
    still = {name.rpartition(".")[0] for name, p in part.critic.named_parameters() if p.grad is None}
    assert still == set(layers[:2])
    for (name, ours), theirs in zip(part.critic.named_parameters(), whole.critic.parameters(), strict=True):
        if ours.grad is None:
            assert_close(ours, before[name], rtol=0, atol=0)
        else:
            assert_close(ours.grad, theirs.grad)
    resumed = Trainer(part.config, CPU)
    resumed.load_state(copy.deepcopy(part.state()))
    run(part, 2), run(resumed, 2)
    assert_same(part.state(), resumed.state())


def test_a_critic_that_would_not_learn_is_refused():
    with pytest.raises(FaceganError, match="training.freeze is 4, and this critic has 4 layers: none would learn"):
        Trainer(tiny("dcgan-r3gan").override({"training.freeze": 4}), CPU)


def test_the_step_touches_no_global_generator():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002, it is this global state that must stay as it is
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    run(Trainer(tiny("human-faces"), CPU), 2)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_noise_is_a_function_of_seed_and_step():
    config = tiny("human-faces").override({"training.augment": 0.5})
    shapes = Trainer(config, CPU).critic.mask_shapes
    one, same, other = (draw_noise(config, step, shapes, CPU) for step in (5, 5, 6))
    assert torch.equal(one.critic_latents, same.critic_latents)
    assert torch.equal(one.keep[2][1], same.keep[2][1])
    assert not torch.equal(one.critic_latents, other.critic_latents)
    assert not torch.equal(one.mix, other.mix)
    assert torch.equal(one.augment, same.augment)
    assert not torch.equal(one.augment, other.augment)
    assert not torch.equal(one.augment[0], one.augment[1]), "photos and fakes are changed independently"
    assert not torch.equal(one.keep[0][0], one.keep[1][0]), "each pass has its own masks"
    share = torch.cat([mask.flatten() for masks in one.keep for mask in masks]).float().mean()
    assert abs(share - 0.5) < 0.01


def test_presets_mean_what_they_say():
    keras = PRESETS["keras-faces-64"].training
    assert (keras.n_critic, keras.batch_size, keras.epochs, keras.penalty_weight) == (5, 64, 60, 10)
    assert keras.generator == keras.critic
    assert (keras.critic.lr, keras.critic.beta1, keras.critic.beta2, keras.critic.eps) == (2e-4, 0.9, 0.999, 1e-7)
    human = PRESETS["human-faces"].training
    assert (human.n_critic, human.batch_size, human.epochs, human.update) == (1, 64, 100, "joint")
    assert (human.critic.lr, human.critic.beta1, human.critic.beta2) == (2e-4, 0.5, 0.9)
    ours, classic = PRESETS["dcgan-r3gan"].training, PRESETS["dcgan"].training
    assert (ours.objective, ours.penalty_weight, ours.update, ours.n_critic) == ("r3gan", 0.3, "alternating", 1)
    assert (ours.batch_size, ours.ema_half_life, ours.decay, ours.flip, ours.epochs) == (16, 10_000, 0.4, True, 100)
    assert ours.critic == Adam(lr=1e-3, beta1=0.0, beta2=0.99, eps=1e-8)
    assert ours.generator == replace(ours.critic, lr=2e-3)
    assert classic == replace(ours, objective="wgan-gp", penalty_weight=10, generator=ours.critic, critic_warm_up=0)
    large = PRESETS["dcgan-r3gan-large"].training
    assert (large.generator, large.batch_size, large.penalty_weight) == (ours.critic, 64, 0.1)
    assert (ours.critic_warm_up, large.critic_warm_up) == (80_000, 0)


def test_average_by_hand():
    """With a half-life of one batch the average moves half of the way; early on it is a 20th of images seen."""
    live = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(live.weight)
    average = AveragedGenerator(live, half_life=100)
    torch.nn.init.ones_(live.weight)
    average.aim(images_seen=10_000, batch_size=100)
    average.follow(live)
    assert_close(average.module.weight.item(), 0.5)
    average.aim(images_seen=1000, batch_size=50)  # half-life 50
    average.follow(live)
    assert_close(average.module.weight.item(), 0.75)


def test_average_has_the_live_batch_norm_statistics():
    trainer = Trainer(tiny("dcgan"), CPU)
    run(trainer, 3)
    assert trainer.average is not None
    live, averaged = dict(trainer.generator.named_buffers()), dict(trainer.average.module.named_buffers())
    assert live and all(torch.equal(live[name], averaged[name]) for name in live)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(trainer.generator.parameters(), trainer.average.module.parameters(), strict=True)
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_state_round_trip_goes_on_bit_for_bit(preset):
    whole = Trainer(tiny(preset), CPU)
    run(whole, 7)
    stopped = Trainer(tiny(preset), CPU)
    run(stopped, 3)
    resumed = Trainer(tiny(preset), CPU)
    resumed.load_state(stopped.state())
    run(resumed, 4)
    assert_same(whole.state(), resumed.state())


def assert_same(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_learning_rates_fall_at_the_end():
    trainer = Trainer(tiny("dcgan").override({"training.decay": 0.5, "training.images": 32}), CPU)
    rates = []
    for _ in range(8):
        run(trainer, 1)
        rates.append(trainer.critic_optimiser.param_groups[0]["lr"] / trainer.config.training.critic.lr)
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_only_the_critic_warms_up_and_it_falls_with_the_generator():
    lengths = {"training.decay": 0.5, "training.images": 32, "training.critic_warm_up": 20}
    changes = lengths | {"training.generator.lr": 2e-3, "training.critic.lr": 1e-3}
    trainer = Trainer(tiny("dcgan").override(changes), CPU)
    rates = []
    for _ in range(8):
        run(trainer, 1)
        optimisers = (trainer.generator_optimiser, trainer.critic_optimiser)
        rates += [1000 * optimiser.param_groups[0]["lr"] for optimiser in optimisers]
    assert rates[::2] == pytest.approx([2, 2, 2, 2, 2, 1.5, 1, 0.5])
    assert rates[1::2] == pytest.approx([0.4, 0.52, 0.64, 0.76, 0.88, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("preset", PRESETS)
def test_bf16_computes_nearly_the_same(preset):
    """Forward passes in bfloat16; weights, scores and losses in float32."""
    full = Trainer(tiny(preset).override({"training.precision": "fp32"}), CPU)
    half = Trainer(tiny(preset).override({"training.precision": "bf16"}), CPU)
    (expected,), (metrics,) = run(full, 1), run(half, 1)
    assert all(value.dtype == torch.float32 for value in metrics.values())
    assert all(p.dtype == torch.float32 for p in half.critic.parameters())
    assert metrics["critic_loss"] != expected["critic_loss"], "bf16 was not used"
    assert_close(metrics["critic_loss"], expected["critic_loss"], rtol=0.1, atol=0.1)
