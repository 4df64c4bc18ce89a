"""The training step: tensors in, tensors out; no files, no printing, no randomness of its own.

Gulrajani et al. 2017 (arXiv:1704.00028), algorithm 1, for any of `losses.OBJECTIVES`. The critic's gradient is written
out where `critic_gradient` covers the critic. Elsewhere, and on request, it comes from autograd's double backward,
which serves every critic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from facegan.config import Config
from facegan.core.device import autocast, widened
from facegan.core.errors import FaceganError
from facegan.core.pixels import to_range
from facegan.core.world import ALONE, World
from facegan.networks import build_critic, build_generator
from facegan.networks.sync_batch_norm import synchronise_batch_norm
from facegan.training import critic_gradient, losses
from facegan.training.augment import adapted, augment
from facegan.training.ema import AveragedGenerator
from facegan.training.noise import Masks, StepNoise
from facegan.training.optimiser import adam, load_optimiser, optimiser_state, set_learning_rate

Metrics = dict[str, Tensor]

WARM_UP_START = 0.4
"""Share of the critic's learning rate with which its warm-up begins."""


class Trainer:
    """Generator, critic, their optimisers and the averaged generator of one run.

    Args:
        config: what to build and how to train it; the initial weights come from its seed.
        device: where all tensors live.
        world: the processes that train the run together; each takes a part of every batch.

    Attributes:
        generator, critic: the networks, in training mode.
        uncovered: why autograd computes the critic's gradient, in words; None where `critic_gradient` does.
        average: the averaged generator, or None where the configuration has no `ema_half_life`.
        augment_probability: of each change to what the critic sees. It is on the device, where a captured step reads
            it, and, where `training.augment` is "auto", changes it.
        images_seen: real images shown to the critic so far, by all processes.
        rollbacks: how often the run went back to a checkpoint; the noise of later steps depends on it. `config`,
            `images_seen`, `rollbacks` and the tensors are the whole state.
    """

    def __init__(self, config: Config, device: torch.device, world: World = ALONE) -> None:
        self.config = config
        self.device = device
        self.world = world
        self.precision = config.training.precision
        assert self.precision != "auto", "the precision must be resolved for the device first"
        self.generator = build_generator(config).to(device)
        self.critic = build_critic(config).to(device)
        self.objective = losses.OBJECTIVES[config.training.objective]
        wanted = config.training.penalty == "auto"
        self.uncovered = critic_gradient.why_not(self.critic) if wanted else "training.penalty asks for autograd"
        self.generator_optimiser = adam(self.generator, config.training.generator, device)
        self.critic_optimiser = adam(self.critic, config.training.critic, device)
        half_life = config.training.ema_half_life
        self.average = AveragedGenerator(self.generator, half_life) if half_life else None
        amount = config.training.augment
        self.adapts = amount == "auto"
        self.augment_probability = torch.tensor(0.0 if self.adapts else float(amount), device=device)
        for parameter in frozen(self.critic, config.training.freeze):
            parameter.requires_grad_(False)
        for network in (self.generator, self.critic):
            synchronise_batch_norm(network, world)
        self.images_seen = 0
        self.rollbacks = 0

    @property
    def step_number(self) -> int:
        """Steps done so far, which is the number of the next one, counted from 0."""
        return self.images_seen // self.config.training.batch_size

    @property
    def sampling_generator(self) -> nn.Module:
        """The generator to draw with: the averaged one where there is one. Switch it to eval mode before use."""
        return self.average.module if self.average else self.generator

    def step(self, reals: Tensor, noise: StepNoise) -> Metrics:
        """Update the critic, and at the end of each cycle of n_critic steps the generator too.

        Args:
            reals: (B, 3, size, size) in [-1, 1], this process's part of the batch.
            noise: drawn for this step; it says whether the generator is updated after the critic.

        Returns:
            Scalars of this process's part, not yet synchronised with the host: `critic_real`, `critic_fake` (mean
            scores), `wasserstein` (their difference), `ordered` (the share of pairs in order), `penalty` (not
            multiplied by its weight), `slope` (mean norm), `critic_loss`; where the generator was updated,
            `generator_loss`; where the run adapts it, `augment`, the probability in this step.
        """
        self.aim(noise.updates_generator)
        metrics = self.compute(reals, noise)
        self.images_seen += self.config.training.batch_size
        return metrics

    def aim(self, updates_generator: bool) -> None:
        """Set what changes from step to step and depends on `images_seen`: learning rates and the average's weight.

        The learning rate is lr·min(1, (1 - t)/decay), with t the share of the run that is done: constant at first,
        then falling linearly to zero. After n images the critic's is at most lr·(s + (1 - s)·n/critic_warm_up), with s
        = WARM_UP_START; docs/quality.md has what that brings.
        """
        training, falling, rising = self.config.training, 1.0, 1.0
        if training.decay:
            assert training.images is not None, "the length must be resolved for the dataset first"
            falling = min(1.0, max(0.0, 1 - self.images_seen / training.images) / training.decay)
        if training.critic_warm_up:
            rising = WARM_UP_START + (1 - WARM_UP_START) * self.images_seen / training.critic_warm_up
        set_learning_rate(self.generator_optimiser, training.generator.lr * falling)
        set_learning_rate(self.critic_optimiser, training.critic.lr * min(falling, rising))
        if self.average and updates_generator:
            batch = training.batch_size
            self.average.aim(self.images_seen + batch, training.n_critic * batch)

    def compute(self, reals: Tensor, noise: StepNoise) -> Metrics:
        """Do all of a step that happens on the device. No number is read back, so this can be captured."""
        reals = self._changed(self._to_network_unit(reals), noise, _REALS)
        if self.config.training.update == "joint":
            metrics = self._joint_update(reals, noise)
        else:
            metrics = self._update_critic(reals, noise)
            if noise.generator_latents is not None:
                metrics["generator_loss"] = self._update_generator(noise, reals)
        if self.average and noise.updates_generator:
            self.average.follow(self.generator)
        if self.adapts:
            metrics["augment"] = self._adapt(metrics["ordered"])
        return metrics

    def _adapt(self, ordered: Tensor) -> Tensor:
        """Move the probability of changes, and return what it was."""
        before, ordered = self.augment_probability.clone(), ordered.clone()
        self.world.average_([ordered])
        self.augment_probability.copy_(adapted(before, ordered, self.config.training.batch_size))
        return before

    def _to_network_unit(self, images: Tensor) -> Tensor:
        return to_range(images, *self.config.networks.pixel_range)

    def _generate(self, latents: Tensor, noise: StepNoise, use: int) -> Tensor:
        with autocast(self.precision, self.device):
            fakes = widened(self.generator(latents))
        return self._changed(fakes, noise, use)

    def _changed(self, images: Tensor, noise: StepNoise, use: int) -> Tensor:
        """Augment images for the critic, if the run augments. Real images and fakes get the same kinds of changes."""
        if noise.augment is None or (self.device.type == "cpu" and not self.augment_probability):
            return images  # a GPU is not asked for the number: it would have to be waited for
        return augment(images, noise.augment[use], self.augment_probability, self.config.networks.pixel_range)

    def _score(self, images: Tensor, keep: Sequence[Tensor] | None) -> Tensor:
        with autocast(self.precision, self.device):
            return widened(self.critic(images, keep) if keep else self.critic(images))

    def _critic_loss(self, reals: Tensor, fakes: Tensor, noise: StepNoise) -> tuple[Tensor, Metrics]:
        """The objective's loss plus the weighted penalty, for autograd, and the parts of both as metrics."""
        keep_real, keep_fake, keep_mixed = noise.keep or _NO_MASKS
        real_scores, fake_scores = self._score(reals, keep_real), self._score(fakes, keep_fake)
        if self.objective.mixes:
            places = [(losses.mix(reals, fakes.detach(), noise.mix), keep_mixed)]
        else:
            places = [(reals, keep_real), (fakes, keep_fake)]
        norms = torch.cat([losses.slope_norms(partial(self._score, keep=keep), images) for images, keep in places])
        penalty = losses.gradient_penalty(norms, self.objective.slope)
        loss = self.config.training.penalty_weight * penalty + self.objective.critic(real_scores, fake_scores)
        return loss, {
            "critic_real": real_scores.mean().detach(),
            "critic_fake": fake_scores.mean().detach(),
            "wasserstein": losses.wasserstein_estimate(real_scores, fake_scores).detach(),
            "ordered": losses.ordered(real_scores, fake_scores),
            "penalty": penalty.detach(),
            "slope": norms.mean().detach(),
            "critic_loss": loss.detach(),
        }

    def _update_critic(self, reals: Tensor, noise: StepNoise) -> Metrics:
        with torch.no_grad():
            fakes = self._generate(noise.critic_latents, noise, _CRITIC_FAKES)
        if self.uncovered is None:
            metrics = critic_gradient.critic_gradients(
                self.critic,
                reals,
                fakes,
                noise.mix,
                objective=self.objective,
                penalty_weight=self.config.training.penalty_weight,
                dtype=torch.bfloat16 if self.precision == "bf16" else reals.dtype,
            )
        else:
            loss, metrics = self._critic_loss(reals, fakes, noise)
            self.critic_optimiser.zero_grad()
            loss.backward()
        self._descend(self.critic_optimiser)
        return metrics

    def _update_generator(self, noise: StepNoise, reals: Tensor) -> Tensor:
        assert noise.generator_latents is not None
        learning = [parameter for parameter in self.critic.parameters() if parameter.requires_grad]
        for parameter in learning:  # else gradients of the critic's weights would be computed and thrown away
            parameter.requires_grad_(False)
        try:
            fake_scores = self._score(self._generate(noise.generator_latents, noise, _GENERATOR_FAKES), None)
            real_scores = self._score(reals, None) if self.objective.relative else fake_scores.detach()
            loss = self.objective.generator(real_scores, fake_scores)
            self.generator_optimiser.zero_grad()
            loss.backward()
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)
        self._descend(self.generator_optimiser)
        return loss.detach()

    def _joint_update(self, reals: Tensor, noise: StepNoise) -> Metrics:
        """Update both networks from one pass of the critic over the fakes; each update uses the other's old weights.

        The critic's loss holds +mean D(fake) and the generator's is -mean D(fake), so the gradient that reaches the
        fakes is that of the generator's loss with the opposite sign. No gradient flows from mixed images to the fakes.
        """
        fakes = self._generate(noise.critic_latents, noise, _CRITIC_FAKES)
        leaf = fakes.detach().requires_grad_(True)
        loss, metrics = self._critic_loss(reals, leaf, noise)
        self.critic_optimiser.zero_grad()
        self.generator_optimiser.zero_grad()
        loss.backward()
        assert leaf.grad is not None
        fakes.backward(-leaf.grad)
        self._descend(self.critic_optimiser)
        self._descend(self.generator_optimiser)
        return {**metrics, "generator_loss": -metrics["critic_fake"]}

    def _descend(self, optimiser: torch.optim.Optimizer) -> None:
        """Step along the gradient of the global batch's loss: the mean of all processes' gradients."""
        parameters = optimiser.param_groups[0]["params"]
        self.world.average_(p.grad for p in parameters if p.grad is not None)
        optimiser.step()

    def check_same_weights(self) -> None:
        """Raises: FaceganError: the processes of the run do not have the same weights."""
        if not self.world.alone:
            networks = (self.generator.state_dict(), self.critic.state_dict())
            tensors = (tensor for network in networks for tensor in network.values())
            self.world.check_same({"weights": b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)})

    def first_not_finite(self) -> str | None:
        """The first tensor of `state` with a NaN or an infinity in it, such as "critic: score.weight"; else None."""
        tensors = dict(_named_tensors(self.state()))
        finite = torch.stack([tensor.isfinite().all().to(self.device) for tensor in tensors.values()])
        return next((name for name, well in zip(tensors, finite.tolist(), strict=True) if not well), None)

    def state(self) -> dict[str, Any]:
        """All tensors of the run by name, for a checkpoint; shared with the trainer, not copied."""
        return {
            "images_seen": self.images_seen,
            "rollbacks": self.rollbacks,
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "averaged_generator": self.average.module.state_dict() if self.average else None,
            **({"augment_probability": self.augment_probability} if self.adapts else {}),
            "generator_optimiser": optimiser_state(self.generator_optimiser),
            "critic_optimiser": optimiser_state(self.critic_optimiser),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`; all names and shapes must match."""
        self.images_seen, self.rollbacks = state["images_seen"], state["rollbacks"]
        self.generator.load_state_dict(state["generator"])
        self.critic.load_state_dict(state["critic"])
        if self.average:
            self.average.module.load_state_dict(state["averaged_generator"])
        if self.adapts:
            self.augment_probability.copy_(state["augment_probability"])
        load_optimiser(self.generator_optimiser, state["generator_optimiser"])
        load_optimiser(self.critic_optimiser, state["critic_optimiser"])


def frozen(critic: nn.Module, count: int) -> list[nn.Parameter]:
    """The parameters of the critic's first `count` layers that have any, in a run with `training.freeze`.

    They keep the weights that they came with. What a face consists of is the same for all photos of faces, and with few
    photos the first layers forget it (Freeze-D, Mo et al. 2020, arXiv:2002.10964).

    Raises:
        FaceganError: no layer would be left to learn.
    """
    layers = [list(module.parameters(recurse=False)) for module in critic.modules()]
    layers = [layer for layer in layers if layer]
    if count >= len(layers):
        raise FaceganError(
            f"training.freeze is {count}, and this critic has {len(layers)} layers: none would learn.",
            f"Give at most {len(layers) - 1}.",
        )
    return [parameter for layer in layers[:count] for parameter in layer]


def _named_tensors(node: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of a state, each with its path, such as "critic: score.weight"."""
    if isinstance(node, Tensor):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _named_tensors(value, f"{path}: {key}" if path else str(key))


_REALS, _CRITIC_FAKES, _GENERATOR_FAKES = range(3)
"""Rows of `StepNoise.augment`."""
_NO_MASKS: tuple[Masks | None, ...] = (None, None, None)
