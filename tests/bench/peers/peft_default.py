"""The loop that most people write: one padded batch with its attention mask, logits everywhere, loss by `labels`."""
import contextlib

import torch

from common import arguments, dtype_of, padded, run
from hf import load, trainable

args = arguments()
# All weights train as the Trainer's bf16=True has them: kept in fp32, computed under autocast.
mixed = args.case == "full" and args.dtype == "bf16"
model = load(args, torch.float32 if mixed else None)
model.train()
params = trainable(model)
optimizer = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.0)


def step(batch):
    ids, labels, mask = padded(batch)
    with torch.autocast("cpu", dtype_of(args)) if mixed else contextlib.nullcontext():
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


run(args, step, "autocast" if mixed else f"{args.dtype}, what trains in {params[0].dtype}".replace("torch.", ""))
