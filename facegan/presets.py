"""The presets: rows of data. `docs/presets.md` says where each number comes from and how the originals were matched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from facegan.config import Adam, Config, DcganNetworks, KerasNetworks, Output, Training

DEFAULT = "dcgan-r3gan"

_DCGAN_NETWORKS = DcganNetworks(
    size=64,
    latent_dim=128,
    width=32,
    critic_width=24,
    max_width=512,
    slope=0.2,
    self_modulation=False,
    depth=0,
    critic_depth=0,
)
_DCGAN = Config(
    preset="dcgan",
    seed=0,
    networks=_DCGAN_NETWORKS,
    training=Training(
        epochs=100,
        images=None,
        batch_size=16,
        n_critic=1,
        update="alternating",
        objective="wgan-gp",
        penalty="auto",
        penalty_weight=10,
        generator=Adam(lr=1e-3, beta1=0.0, beta2=0.99, eps=1e-8),
        critic=Adam(lr=1e-3, beta1=0.0, beta2=0.99, eps=1e-8),
        ema_half_life=10_000,
        decay=0.4,
        flip=True,
        augment=0,
        precision="auto",
        on_nan="stop",
    ),
    output=Output(
        sample_every=1,
        checkpoint_every=1,
        evaluate_every=0,
        evaluate_count=1000,
        log_every=10,
        keep=3,
        tensorboard=False,
    ),
)

# Keras' Adam adds its epsilon before the bias correction and torch's after it; see docs/presets.md.
_KERAS_ADAM = Adam(lr=2e-4, beta1=0.9, beta2=0.999, eps=1e-7)
_KERAS_NETWORKS = KerasNetworks(
    size=64,
    latent_dim=100,
    generator_widths=(512, 256, 128, 64),
    critic_widths=(64, 128, 256, 512),
    kernel_size=5,
    slope=0.2,
    batch_norm_momentum=0.1,
    critic_batch_norm=False,
    critic_dropout=0.0,
    unit_pixels=False,
)
_KERAS_FACES_64 = Config(
    preset="keras-faces-64",
    seed=0,
    networks=_KERAS_NETWORKS,
    training=replace(
        _DCGAN.training,
        epochs=60,
        batch_size=64,
        n_critic=5,
        generator=_KERAS_ADAM,
        critic=_KERAS_ADAM,
        ema_half_life=0,
        decay=0,
        flip=False,
        precision="fp32",
    ),
    output=_DCGAN.output,
)
_MODULATED = replace(_DCGAN_NETWORKS, self_modulation=True)
_R3GAN = replace(
    _DCGAN,
    preset="dcgan-r3gan",
    networks=replace(_MODULATED, taper=True, depth=1),
    training=replace(
        _DCGAN.training,
        objective="r3gan",
        penalty_weight=0.3,
        generator=replace(_DCGAN.training.generator, lr=2e-3),
        critic_warm_up=80_000,
    ),
)
_HUMAN_ADAM = replace(_KERAS_ADAM, beta1=0.5, beta2=0.9)

PRESETS: dict[str, Config] = {
    config.preset: config
    for config in (
        _R3GAN,
        replace(
            _R3GAN,
            preset="dcgan-r3gan-large",
            networks=replace(_MODULATED, width=48, depth=2, critic_width=48),
            training=replace(
                _DCGAN.training,
                batch_size=64,
                objective="r3gan",
                penalty_weight=0.1,
                ema_half_life=100_000,
                augment="auto",
            ),
        ),
        _DCGAN,
        replace(
            _KERAS_FACES_64,
            preset="human-faces",
            networks=replace(
                _KERAS_NETWORKS,
                latent_dim=128,
                generator_widths=(256, 128, 64, 32),
                critic_widths=(32, 64, 128, 256, 512),
                slope=0.3,
                batch_norm_momentum=0.01,
                critic_batch_norm=True,
                critic_dropout=0.5,
                unit_pixels=True,
            ),
            training=replace(
                _KERAS_FACES_64.training,
                epochs=100,
                n_critic=1,
                update="joint",
                generator=_HUMAN_ADAM,
                critic=_HUMAN_ADAM,
            ),
        ),
        _KERAS_FACES_64,
        replace(
            _KERAS_FACES_64,
            preset="keras-faces-128",
            networks=replace(_KERAS_NETWORKS, size=128, latent_dim=200, kernel_size=3),
        ),
    )
}
"""Each row begins as a copy of another row, and says only what differs from it."""

TRANSFER: dict[str, Any] = {
    "training.epochs": 30,
    "training.batch_size": 16,
    "training.penalty_weight": 0.3,
    "training.ema_half_life": 10_000,
    "training.augment": "auto",
    "training.freeze": 2,
}
"""What a run that starts from both networks of another one, and has other photos, takes instead of that run's own
settings. docs/your-own-photos.md has the measurements behind it."""


@dataclass(frozen=True)
class Origin:
    """What the original of a preset did to its photos, and where its settings come from.

    Attributes:
        no_faces_before: a number of images seen at which a run on 7,000 photos of CelebA still drew no face in its
            sample grid, only grey, stripes and blobs; 0 if nobody has looked for that number.
    """

    crop: str
    summary: str
    no_faces_before: int = 0


ORIGINS: dict[str, Origin] = {
    "dcgan-r3gan": Origin("square", "facegan's default: any size from 32 to 256, relativistic loss with R1 and R2"),
    "dcgan-r3gan-large": Origin("square", "the default, wider and deeper, in batches of 64: for a GPU, or for days"),
    "dcgan": Origin("square", "WGAN-GP with plainer networks: the latent acts at the 4x4 map alone"),
    "human-faces": Origin(
        "human-faces", "the TensorFlow 2 WGAN-GP: 64 px, batch norm and dropout in the critic", 30_000
    ),
    "keras-faces-64": Origin("none", "the Keras notebook at 64 px: five critic steps", 30_000),
    "keras-faces-128": Origin("none", "the Keras notebook at 128 px: five critic steps"),
}
