"""Hugging Face Trainer: pass the optimizer, keep everything else. Stops in the middle and resumes."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed
from transformers.optimization import get_constant_schedule_with_warmup

from mezzotint.optim import AdamW


def trainer(n_steps):
    """Make a Trainer of a tiny GPT-2 in bfloat16, always from the same start."""
    set_seed(0)
    config = GPT2Config(vocab_size=64, n_positions=32, n_embd=64, n_layer=1, n_head=2)
    config.attn_pdrop = config.embd_pdrop = config.resid_pdrop = 0.0
    model = GPT2LMHeadModel(config).to(torch.bfloat16)
    optimizer = AdamW(model.parameters(), lr=3e-3, recipe="8bit")
    ids = (torch.arange(64 * 32) % 13).view(64, 32)
    arguments = TrainingArguments(
        output_dir="run",
        max_steps=n_steps,
        per_device_train_batch_size=4,
        save_steps=4,
        logging_steps=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in ids],
        optimizers=(optimizer, get_constant_schedule_with_warmup(optimizer, 2)),
    )


whole = trainer(8)
whole.train()
resumed = trainer(8)
resumed.train(resume_from_checkpoint="run/checkpoint-4")
print("bytes on this machine:", resumed.optimizer.optimizer.state_bytes())
print("steps of parameters by backend:", resumed.optimizer.optimizer.backends())
pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
print(
    "stopped after 4 steps and resumed, the weights are the same bits:", all(torch.equal(*p) for p in pairs)
)
