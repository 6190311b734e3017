"""One training run of the tour's second half: a small GPT, stored by one recipe. It alone imports torch.

All runs see the same batches in the same order and start from the same weights. Forward and backward pass are
computed in float32 from the stored weights, so that runs differ in what is stored and in nothing else.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.cli.tour_plan import Plan, Run
from mezzotint.cli.tour_text import Text
from mezzotint.monitor import PrecisionMonitor
from mezzotint.optim import AdamW, param_groups

_CLIP = 1.0
_DECAY = 0.1


class GPT(nn.Module):
    """A decoder-only transformer over characters, with learned positions and a tied head.

    Parameters
    ----------
    n_characters : int
        How many there are.
    plan : Plan
        Sizes.
    """

    def __init__(self, n_characters: int, plan: Plan) -> None:
        super().__init__()
        self.characters = nn.Embedding(n_characters, plan.width)
        self.positions = nn.Embedding(plan.length, plan.width)
        layer = nn.TransformerEncoderLayer(
            plan.width, plan.heads, 4 * plan.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, plan.layers, nn.LayerNorm(plan.width), enable_nested_tensor=False
        )
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(plan.length))

    def forward(self, x: Tensor) -> Tensor:
        """Map character numbers (rows, length) to logits of what follows each."""
        h = self.characters(x) + self.positions.weight
        return functional.linear(self.layers(h, mask=self.mask, is_causal=True), self.characters.weight)


def train(recipe: str, plan: Plan, text: Text) -> Run:
    """Train once, on one thread: the result is the same on any number of cores."""
    torch.set_num_threads(1)
    model = _model(text.n_characters, plan)
    optimizer = AdamW(
        param_groups(model, weight_decay=_DECAY, recipe=recipe, embeddings=recipe),
        betas=(0.9, plan.beta2),
        recipe=recipe,
    )
    numbers, held_out = torch.from_numpy(text.train), torch.from_numpy(text.held_out)
    curve, every = [], max(plan.steps // plan.looks, 1)
    with PrecisionMonitor(optimizer, every=every, sample=0) as monitor:
        for step, batch in zip(range(plan.steps), _batches(numbers, plan), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate_at(step)
            optimizer.zero_grad()
            _loss(model, batch).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
            optimizer.step()
            if (step + 1) % every == 0:
                curve.append((step + 1, held_out_loss(model, held_out, plan)))
    rows = [row for row in monitor.history if row.kind == "total"]
    n_parameters = sum(p.numel() for p in model.parameters())
    return Run(
        recipe=recipe,
        curve=curve,
        edq=[(row.step, row.edq_full_ratio) for row in rows],
        lost=sum(row.lost_full for row in rows) / len(rows),
        bytes_per_parameter=optimizer.state_bytes()["total"] / n_parameters,
        n_parameters=n_parameters,
    )


def _model(n_characters: int, plan: Plan) -> GPT:
    """Draw the same first weights for every recipe; torch's own depend on what ran before."""
    model = GPT(n_characters, plan)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.zero_()
            elif p.dim() > 1:
                p.normal_(0.0, 0.5 / math.sqrt(plan.width), generator=generator)
    return model.to(torch.bfloat16)


def _loss(model: GPT, batch: Tensor) -> Tensor:
    """Mean cross-entropy in nats per character, computed in float32 from the stored weights."""
    wide = {name: p.float() for name, p in model.named_parameters()}
    logits = torch.func.functional_call(model, wide, (batch[:, :-1],))
    return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def _batches(numbers: Tensor, plan: Plan) -> Iterator[Tensor]:
    """Yield windows drawn at random, the same ones for every recipe."""
    generator = torch.Generator().manual_seed(1)
    while True:
        starts = torch.randint(len(numbers) - plan.length, (plan.rows, 1), generator=generator)
        yield numbers[starts + torch.arange(plan.length + 1)]


@torch.no_grad()
def held_out_loss(model: GPT, numbers: Tensor, plan: Plan) -> float:
    """Mean loss over windows spread evenly over the held-out text."""
    starts = torch.linspace(0, len(numbers) - plan.length - 1, plan.windows).long()[:, None]
    rows = numbers[starts + torch.arange(plan.length + 1)]
    losses = [float(_loss(model, part)) * len(part) for part in torch.split(rows, 64)]
    return sum(losses) / len(rows)
