"""Train a network in bfloat16 without fp32 copies: one line changes. 24 bits keep what 16 bits lose."""

import torch

from mezzotint.optim import AdamW

torch.manual_seed(0)
x = torch.randn(512, 64)
y = torch.tanh(x @ torch.randn(64, 8))


def train(recipe):
    """Train from the same start and give the last loss."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 8)).bfloat16()
    optimizer = AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.999), recipe=recipe, spare=lambda _: False)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 80)
    for _ in range(80):
        loss = torch.nn.functional.mse_loss(model(x.bfloat16()).float(), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    weights = sum(p.numel() for p in model.parameters())
    return loss.item(), optimizer.state_bytes()["total"] / weights


for recipe in ("mixed", "bf16", "24bit"):
    loss, size = train(recipe)
    print(f"{recipe:8} {size:5.2f} bytes per weight, loss {loss:.5f}")
