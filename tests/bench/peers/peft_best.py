"""The best loop that transformers and PEFT allow: rows grouped by length, the head only at supervised positions, no attention
mask (the padding stands right of causal rows, and nothing supervised sees it), fused AdamW. `--form compile`: the body compiled."""
import torch
import torch.nn.functional as F

from common import arguments, groups, padded, run, supervised
from hf import load, parts, trainable

args = arguments()
model = load(args)
model.train()
body, head = parts(model)
if args.form == "compile":
    body = torch.compile(body, dynamic=True)
params = trainable(model)
optimizer = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.0, fused=True)


def loss_sum(group):
    ids, labels, _ = padded(group)
    labels = F.pad(labels[:, 1:], (0, 1), value=-100)
    if args.case == "prefix":
        hidden = body(input_ids=ids, past_key_values=model.get_prompt(batch_size=len(group)), use_cache=True).last_hidden_state
    else:
        hidden = body(input_ids=ids, use_cache=False).last_hidden_state
    chosen = labels != -100
    return F.cross_entropy(head(hidden[chosen]).float(), labels[chosen], reduction="sum")


def step(batch):
    count, total = supervised(batch), 0.0
    for group in groups(batch):
        loss = loss_sum(group) / count
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


compiled = ", compiled" if args.form == "compile" else ""
run(args, step, f"{args.dtype}, what trains in {params[0].dtype}{compiled}".replace("torch.", ""))
