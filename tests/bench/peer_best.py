"""The best LoRA loop that transformers and PEFT allow: rows grouped by length, the head only at supervised positions,
no attention mask (the padding stands right of causal rows, and nothing supervised sees it), fused AdamW."""
import torch
import torch.nn.functional as F

from peer_common import arguments, load, run

args = arguments()
model = load(args)
body, head = model.get_base_model().model, model.get_base_model().lm_head
params = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(params, lr=2e-4, weight_decay=0.01, fused=True)


def groups(rows, waste=1.2):
    """Neighbours in order of length, as long as padding adds little."""
    rows = sorted(rows, key=lambda r: len(r[0]))
    found, i = [], 0
    while i < len(rows):
        j, total = i + 1, len(rows[i][0])
        while j < len(rows) and len(rows[j][0]) * (j + 1 - i) <= waste * (total + len(rows[j][0])) + 64:
            total += len(rows[j][0])
            j += 1
        found.append(rows[i:j])
        i = j
    return found


def loss_sum(group):
    longest = max(len(ids) for ids, _ in group)
    ids = torch.zeros(len(group), longest, dtype=torch.long)
    labels = torch.full((len(group), longest), -100)
    for i, (row, first) in enumerate(group):
        n, first = len(row), max(first, 1)
        ids[i, :n] = torch.tensor(row)
        labels[i, first - 1 : n - 1] = ids[i, first:n]
    hidden = body(input_ids=ids, use_cache=False).last_hidden_state
    chosen = labels != -100
    return F.cross_entropy(head(hidden[chosen]).float(), labels[chosen], reduction="sum")


def step(batch):
    supervised = sum(len(ids) - max(first, 1) for ids, first in batch)
    total = 0.0
    for group in groups(batch):
        loss = loss_sum(group) / supervised
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


run(args, step)
