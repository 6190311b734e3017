"""Draw docs/edq.svg: `python docs/draw_edq.py`, a minute on one core.

A network for scikit-learn's digits is trained by AdamW at beta2 = 0.999 with its weights and states stored by
several recipes; the learning rate falls to a hundredth by a cosine. Prints the last figures of each run.
"""

import math
import sys
from pathlib import Path

import torch
from matplotlib import rc_context
from sklearn.datasets import load_digits

from mezzotint.monitor import PrecisionMonitor, Row, plot
from mezzotint.optim import AdamW

RECIPES = ("bf16", "collage-light", "24bit", "8bit")
STEPS, EVERY, BATCH, RATE = 1500, 25, 128, 1e-3


def network() -> torch.nn.Module:
    """Two hidden layers of 256, the same weights in every run."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(256, 10)).bfloat16()


def train(recipe: str, n_steps: int = STEPS) -> tuple[list[Row], list[str]]:
    """History and advice of one run."""
    pixels, digits = load_digits(return_X_y=True)
    X, y = torch.tensor(pixels / 16, dtype=torch.bfloat16), torch.tensor(digits)
    model = network()
    optimizer = AdamW(model.parameters(), lr=RATE, recipe=recipe, spare=lambda p: p.dim() < 2)
    generator = torch.Generator().manual_seed(1)
    with PrecisionMonitor(optimizer, every=EVERY, model=model) as monitor:
        for step in range(n_steps):
            share = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / n_steps))
            optimizer.param_groups[0]["lr"] = RATE * share
            rows = torch.randint(len(X), (BATCH,), generator=generator)
            torch.nn.functional.cross_entropy(model(X[rows]).float(), y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return monitor.history, monitor.advice()


def draw(histories: dict[str, list[Row]], path: Path) -> None:
    """Draw the picture, as the same bytes whenever the numbers are the same."""
    with rc_context({"svg.hashsalt": "mezzotint", "svg.fonttype": "none", "font.size": 9}):
        figure = plot(histories)
        figure.axes[2].set_yscale("log")
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Train, print and draw."""
    torch.set_num_threads(1)
    histories = {}
    for recipe in RECIPES:
        histories[recipe], advice = train(recipe)
        last = histories[recipe][-1]
        sys.stdout.write(
            f"{recipe}: EDQ ratio {last.edq_ratio:.3f} visible, {last.edq_full_ratio:.3f} full; lost "
            f"{last.lost:.3f} visible, {last.lost_full:.3f} full; v {last.v_ratio:.3f}\n"
        )
        sys.stdout.write("".join(f"  {sentence}\n" for sentence in advice))
    draw(histories, Path(__file__).with_name("edq.svg"))


if __name__ == "__main__":
    main()
