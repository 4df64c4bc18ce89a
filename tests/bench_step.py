"""How fast a training step is, and what share of it is data: `python tests/bench_step.py DATASET [--preset NAME]`.

Medians over rounds of whole cycles (n_critic critic updates and one of the generator), data loading and noise included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from facegan.launch import plan_new
from facegan.loop import step_inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--preset", default="keras-faces-64")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    plan = plan_new(args.dataset, args.preset, {}, args.device)
    trainer = plan.trainer()
    training = plan.config.training
    rates, shares = [], []
    for round_number in range(args.rounds + 1):
        data = 0.0
        started = time.perf_counter()
        for _ in range(training.n_critic):
            before = time.perf_counter()
            inputs = step_inputs(trainer, plan.dataset)
            data += time.perf_counter() - before
            metrics = trainer.step(*inputs)
        float(metrics["critic_loss"])  # waits for the device
        took = time.perf_counter() - started
        if round_number:  # the first is a warm-up
            rates.append(training.n_critic * training.batch_size / took)
            shares.append(data / took)
    print(
        f"{args.preset}: {statistics.median(rates):.1f} images/s, "
        f"data and noise {100 * statistics.median(shares):.2f} % of the time"
    )


if __name__ == "__main__":
    main()
