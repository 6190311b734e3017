"""Lightning: return the optimizer from configure_optimizers. Stops in the middle and resumes."""

import logging

import lightning
import torch

from mezzotint.optim import AdamW

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Regression(lightning.LightningModule):
    """A small network in bfloat16."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = (torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 8))
        self.layers = torch.nn.Sequential(*layers).bfloat16()

    def training_step(self, batch, index):
        return torch.nn.functional.mse_loss(self.layers(batch[0]).float(), batch[1])

    def configure_optimizers(self):
        optimizer = AdamW(self.parameters(), lr=3e-3, recipe="24bit")
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


source = torch.Generator().manual_seed(1)
x = torch.randn(128, 64, generator=source)
y = torch.tanh(x @ torch.randn(64, 8, generator=source))
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x.bfloat16(), y), batch_size=32)


def fit(n_epochs, checkpoint=None):
    """Train, from a checkpoint if one is given, and give the trainer and the model."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        max_epochs=n_epochs, accelerator="cpu", enable_checkpointing=False, gradient_clip_val=1.0, **quiet
    )
    model = Regression()
    trainer.fit(model, loader, ckpt_path=checkpoint, weights_only=checkpoint is not None or None)
    return trainer, model


_, whole = fit(4)
half, _ = fit(2)
half.save_checkpoint("half.ckpt")
_, resumed = fit(4, "half.ckpt")
sizes = resumed.optimizers(use_pl_optimizer=False).state_bytes()
print("bytes on this machine:", sizes)
print("learning rate after 4 epochs:", resumed.lr_schedulers().get_last_lr())
pairs = zip(whole.parameters(), resumed.parameters(), strict=True)
print(
    "stopped after 2 epochs and resumed, the weights are the same bits:", all(torch.equal(*p) for p in pairs)
)
