"""Greedy generation by transformers. Default: generate() as it comes; best: the last position's logits in a loop of our own over
a cache, without what generate() does around a step; compile: generate() with a static cache and a compiled forward."""
import time

import torch
from transformers import DynamicCache, StoppingCriteria

from common import arguments, run_generation
from hf import load

args = arguments()
model = load(args)
model.eval()


class FirstToken(StoppingCriteria):
    """Notes when the first token stood; never stops."""

    def __init__(self):
        self.at = None

    def __call__(self, input_ids, scores, **kwargs):
        self.at = self.at or time.perf_counter()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


def by_generate(rows):
    ids, first, start = torch.tensor(rows), FirstToken(), time.perf_counter()
    how = dict(cache_implementation="static") if args.form == "compile" else {}
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.new, min_new_tokens=args.new, do_sample=False, stopping_criteria=[first], pad_token_id=0, **how)
    return out[:, ids.shape[1] :].tolist(), first.at - start


@torch.inference_mode()
def by_hand(rows):
    start, cache, ids, found = time.perf_counter(), DynamicCache(config=model.config), torch.tensor(rows), []
    while len(found) < args.new:
        ids = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1, keepdim=True)
        found.append(ids)
        if len(found) == 1:
            ids.sum().item()
            first = time.perf_counter() - start
    return torch.cat(found, 1).tolist(), first


if args.form == "compile":
    model.forward = torch.compile(model.forward, dynamic=True)
names = dict(default="generate()", best="own loop over a cache", compile="generate(), static cache, compiled")
run_generation(args, by_hand if args.form == "best" else by_generate, f"{args.dtype}, {names[args.form]}")
