"""torchtune's classes. Default: as its single-device recipes use them: a padded batch without a mask, chunked cross-entropy over
all positions, fused AdamW, all in the asked type. Best: rows grouped by length, the head only at supervised positions."""
import torch
import torch.nn.functional as F
from torchtune.data import padded_collate_sft
from torchtune.modules.loss import CEWithChunkedOutputLoss

from common import arguments, groups, padded, run, supervised
from tune import load

args = arguments()
model = load(args)
model.train()
params = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.0, fused=True)
best, loss_fn = args.form != "default", CEWithChunkedOutputLoss()
if best:
    model.unembed = lambda hidden: model.norm(hidden)  # hidden states come out, after the last norm
else:
    model.set_num_output_chunks(loss_fn.num_output_chunks)
forward = torch.compile(model, dynamic=True) if args.form == "compile" else model


def recipe_loss(batch):
    tensors = padded_collate_sft([dict(tokens=ids, labels=[-100] * first + ids[first:]) for ids, first in batch], padding_idx=0, ignore_idx=-100)
    labels = tensors["labels"]
    logits = forward(tokens=tensors["tokens"])
    return loss_fn(logits, torch.hstack((labels[..., 1:], torch.full((len(labels), 1), -100))))


def group_loss(group):
    ids, labels, _ = padded(group)
    labels = F.pad(labels[:, 1:], (0, 1), value=-100)
    chosen = labels != -100
    return F.cross_entropy(model.output(forward(tokens=ids)[chosen]).float(), labels[chosen], reduction="sum")


def step(batch):
    count, total = supervised(batch), 0.0
    for part in groups(batch) if best else [batch]:
        loss = group_loss(part) / count if best else recipe_loss(part)
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


run(args, step, f"{args.dtype}, {'length groups, supervised head' if best else 'padded, chunked loss'}{', compiled' if args.form == 'compile' else ''}")
