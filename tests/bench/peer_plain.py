"""The loop that most people write: one padded batch with its attention mask, logits everywhere, loss by `labels`."""
import torch

from peer_common import arguments, load, run

args = arguments()
model = load(args)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, weight_decay=0.01)


def step(batch):
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), -100)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for i, (row, first) in enumerate(batch):
        n, first = len(row), max(first, 1)
        ids[i, :n] = torch.tensor(row)
        labels[i, first:n] = ids[i, first:n]
        mask[i, :n] = 1
    loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


run(args, step)
