"""What both peers share: the model with the bench's adapter, the rows, and the lines that the bench reads."""
import argparse
import json
import os
import resource
import time

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("adapter")
    p.add_argument("rows")
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--skip", type=int, default=0, help="batches to leave out at the start")
    p.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--adapter-dtype", choices=["model", "fp32"], default="model")
    return p.parse_args()


def load(args):
    """The model in the asked type with the adapter that all sides start from; only the adapter trains."""
    torch.set_num_threads(args.threads)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, attn_implementation="sdpa")
    model.config.use_cache = False
    model = PeftModel.from_pretrained(model, args.adapter, is_trainable=True, autocast_adapter_dtype=args.adapter_dtype == "fp32")
    if args.adapter_dtype == "model":
        for p in model.parameters():
            if p.requires_grad:
                p.data = p.data.to(dtype)
    model.train()
    return model


def batches(args):
    """Batches of (ids, first supervised position), in the order of the file."""
    with open(args.rows) as f:
        data = json.load(f)
    size = data["batch"]
    rows = data["rows"][args.skip * size :]
    for i in range(0, min(len(rows), args.steps * size), size):
        yield [(r["ids"], r["supervisedFrom"]) for r in rows[i : i + size]]


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def run(args, step):
    """Calls step(batch) -> loss for each batch and prints one JSON line a step: tokens without padding, time, faults."""
    begun = time.perf_counter()
    for i, batch in enumerate(batches(args)):
        if i >= 3 and time.perf_counter() - begun > args.seconds:
            break
        before, start = faults(), time.perf_counter()
        loss = step(batch)
        seconds = time.perf_counter() - start
        tokens = sum(len(ids) for ids, _ in batch)
        supervised = sum(len(ids) - max(first, 1) for ids, first in batch)
        print(json.dumps(dict(step=i + 1, tokens=tokens, supervised=supervised, seconds=seconds, loss=loss, faults=faults() - before)), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tcmalloc = "tcmalloc" in os.environ.get("LD_PRELOAD", "")
    print(json.dumps(dict(peakMiB=peak, form=f"torch {torch.__version__}, adapter {args.adapter_dtype}, {'tcmalloc' if tcmalloc else 'glibc'}")), flush=True)
