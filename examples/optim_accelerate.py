"""Accelerate: prepare the optimizer like any other; its state is saved and loaded bit for bit."""

import torch
from accelerate import Accelerator

from mezzotint.optim import AdamW

torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 8)).bfloat16()
optimizer = AdamW(model.parameters(), lr=3e-3, recipe="4bit")
x = torch.randn(256, 64)
data = torch.utils.data.TensorDataset(x.bfloat16(), torch.tanh(x @ torch.randn(64, 8)))
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 16)
model, optimizer, loader, schedule = accelerator.prepare(
    model, optimizer, torch.utils.data.DataLoader(data, batch_size=32), schedule
)


def epoch():
    """Train on all batches once."""
    for inputs, targets in loader:
        loss = torch.nn.functional.mse_loss(model(inputs).float(), targets)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return loss.item()


print(f"first epoch:                  loss {epoch():.6f}")
accelerator.save_state("state")
print(f"second epoch:                 loss {epoch():.6f}")
accelerator.load_state("state")
print(f"the same from the checkpoint: loss {epoch():.6f}")
