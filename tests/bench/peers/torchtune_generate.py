"""Greedy generation by torchtune. Default: its generate() with key and value caches; best: the same model and caches in a loop of
our own, which keeps no logits and reads the head at the last position alone; compile: generate() with a compiled step."""
import time

import torch
from torchtune.generation import generate, generate_next_token

from common import arguments, dtype_of, run_generation
from tune import load

args = arguments()
model = load(args)
model.eval()
length = args.prompt + args.new
model.setup_caches(batch_size=args.batch, dtype=dtype_of(args), decoder_max_seq_len=length)
next_token = torch.compile(generate_next_token, dynamic=True) if args.form == "compile" else generate_next_token


@torch.inference_mode()
def by_generate(rows):
    start, first = time.perf_counter(), []

    def following(*positional, **named):
        # The first token is made before this is called for the second.
        first.append(time.perf_counter() - start)
        return next_token(*positional, **named)

    model.reset_caches()
    out, _ = generate(model, torch.tensor(rows), max_generated_tokens=args.new, pad_id=-1, temperature=1.0, top_k=1, custom_generate_next_token=following)
    return out[:, args.prompt :].tolist(), first[0]


@torch.inference_mode()
def by_hand(rows):
    start, ids, found = time.perf_counter(), torch.tensor(rows), []
    model.reset_caches()
    model.unembed = lambda hidden: model.norm(hidden)  # the head reads the last position alone
    masks, positions = torch.ones(length, length, dtype=torch.bool).tril().unsqueeze(0), torch.arange(length).unsqueeze(0)
    at = slice(0, args.prompt)
    while len(found) < args.new:
        hidden = model(ids, mask=masks[:, at], input_pos=positions[:, at])
        ids = model.output(hidden[:, -1:]).argmax(-1)
        found.append(ids)
        at = slice(at.stop, at.stop + 1)
        if len(found) == 1:
            ids.sum().item()
            first = time.perf_counter() - start
    return torch.cat(found, 1).tolist(), first


names = dict(default="generate() with caches", best="own loop over its caches", compile="generate() with caches, compiled")
run_generation(args, by_hand if args.form == "best" else by_generate, f"{args.dtype}, {names[args.form]}")
