"""What all peers share: arguments, the rows, and the lines that the bench reads."""
import argparse
import json
import os
import resource
import time

import torch

RATES = dict(lora=2e-4, full=2e-5, prefix=1e-3)


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("rows")
    p.add_argument("--case", choices=["lora", "full", "prefix", "generate"], default="lora")
    p.add_argument("--form", choices=["default", "best", "compile"], default="default")
    p.add_argument("--adapter", help="folder of the adapter that all sides start from")
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--skip", type=int, default=0, help="batches to leave out at the start")
    p.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--adapter-dtype", choices=["model", "fp32"], default="model")
    p.add_argument("--batch", type=int, default=1, help="prompts beside each other, in generation")
    p.add_argument("--prompt", type=int, default=64, help="tokens of a prompt")
    p.add_argument("--new", type=int, default=64, help="tokens to generate for each prompt")
    args = p.parse_args()
    args.lr = RATES.get(args.case)
    torch.set_num_threads(args.threads)
    return args


def dtype_of(args):
    return torch.bfloat16 if args.dtype == "bf16" else torch.float32


def batches(args):
    """Batches of (ids, first supervised position), in the order of the file."""
    with open(args.rows) as f:
        data = json.load(f)
    size = data["batch"]
    rows = data["rows"][args.skip * size :]
    for i in range(0, min(len(rows), args.steps * size), size):
        yield [(r["ids"], max(r["supervisedFrom"], 1)) for r in rows[i : i + size]]


def prompts(args):
    """`args.batch` prompts of `args.prompt` tokens: the rows laid end to end, and cut."""
    with open(args.rows) as f:
        ids = [i for r in json.load(f)["rows"] for i in r["ids"]]
    return [ids[i * args.prompt : (i + 1) * args.prompt] for i in range(args.batch)]


def padded(batch):
    """ids, labels (not shifted, -100 where not supervised) and mask of a batch, padded on the right."""
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), -100)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for i, (row, first) in enumerate(batch):
        n = len(row)
        ids[i, :n] = torch.tensor(row)
        labels[i, first:n] = ids[i, first:n]
        mask[i, :n] = 1
    return ids, labels, mask


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


def supervised(batch):
    return sum(len(ids) - first for ids, first in batch)


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def tell(**values):
    print(json.dumps(values), flush=True)


def tell_step(number, batch, seconds, loss, before):
    """One step's line: tokens without padding, time, faults."""
    tell(step=number, tokens=sum(len(ids) for ids, _ in batch), supervised=supervised(batch), seconds=seconds, loss=loss, faults=faults() - before)


def peak_mib():
    """Highest resident memory so far. getrusage would tell that of the process that started this one, where it was larger."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def tell_end(form):
    allocator = "tcmalloc" if "tcmalloc" in os.environ.get("LD_PRELOAD", "") else "glibc"
    tell(peakMiB=peak_mib(), form=f"{form}, torch {torch.__version__.split('+')[0]}, {allocator}")


def run(args, step, form):
    """Calls step(batch) -> loss for each batch; ends after `--seconds`, but not before the third step."""
    begun = time.perf_counter()
    for i, batch in enumerate(batches(args)):
        if i >= 3 and time.perf_counter() - begun > args.seconds:
            break
        before, start = faults(), time.perf_counter()
        loss = step(batch)
        tell_step(i + 1, batch, time.perf_counter() - start, loss, before)
    tell_end(form)


def run_generation(args, generate, form):
    """
    Calls generate(prompts) -> (ids of each row, seconds to the first token) `--steps` times; the first is the warm-up. The
    rows' first 16 new tokens are told, so that sides can be compared.
    """
    begun, rows = time.perf_counter(), prompts(args)
    for i in range(args.steps):
        if i >= 2 and time.perf_counter() - begun > args.seconds:
            break
        before, start = faults(), time.perf_counter()
        found, first = generate(rows)
        seconds = time.perf_counter() - start
        tell(step=i + 1, tokens=sum(len(r) for r in found), seconds=seconds, firstToken=first, ids=[r[:16] for r in found], faults=faults() - before)
    tell_end(form)
