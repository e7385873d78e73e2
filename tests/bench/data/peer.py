"""The peer of the data bench: datasets' map over a fast tokenizer of transformers, then the same greedy packing of lengths."""
import hashlib
import json
import os
import sys

import numpy as np
from datasets import Features, List, Value, load_dataset
from transformers import PreTrainedTokenizerFast

file, model, cache, template, max_length, processes = sys.argv[1:7]
config = json.load(open(os.path.join(model, "tokenizer_config.json")))
tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(model, "tokenizer.json"))
tokenizer.chat_template = config["chat_template"]
opening = np.asarray(tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False), dtype=np.int32)
closing = tokenizer.convert_tokens_to_ids("<|im_end|>")
eos = tokenizer.convert_tokens_to_ids(config["eos_token"])


def chat_labels(ids):
    """Answers and their end of turn: what stands behind each opening of an assistant's turn."""
    labels = np.full(len(ids), -100, dtype=np.int32)
    starts = np.flatnonzero(ids == opening[0])
    ends = np.flatnonzero(ids == closing)
    for start in starts:
        first = start + len(opening)
        if first < len(ids) and np.array_equal(ids[start:first], opening):
            last = ends[np.searchsorted(ends, first)]
            labels[first:last + 1] = ids[first:last + 1]
    return labels


def chats(batch):
    texts = []
    for src, tgt in zip(batch["src"], batch["tgt"]):
        messages = [{"role": role, "content": text} for pair in zip(src, tgt) for role, text in zip(("user", "assistant"), pair)]
        texts.append(tokenizer.apply_chat_template(messages, tokenize=False))
    ids = [np.asarray(row, dtype=np.int32) for row in tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]]
    return {"input_ids": ids, "labels": [chat_labels(row) for row in ids], "length": [len(row) for row in ids]}


def plain(batch):
    options = {"add_special_tokens": False, "return_attention_mask": False}
    sources = tokenizer(batch["src"], **options)["input_ids"]
    targets = tokenizer(batch["tgt"], **options)["input_ids"]
    ids = [np.asarray(src + tgt + [eos], dtype=np.int32) for src, tgt in zip(sources, targets)]
    labels = [row.copy() for row in ids]
    for row, src in zip(labels, sources):
        row[:len(src)] = -100
    return {"input_ids": ids, "labels": labels, "length": [len(row) for row in ids]}


numbers = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32")), "length": Value("int32")})
rows = load_dataset("json", data_files=file, split="train", cache_dir=cache)
rows = rows.map(chats if template == "auto" else plain, batched=True, num_proc=int(processes), remove_columns=["src", "tgt"], features=numbers)
lengths = np.concatenate([chunk.to_numpy() for chunk in rows.data.column("length").chunks])
packs, room = 0, -1
for length in lengths.tolist():
    if packs == 0 or length > room:
        packs, room = packs + 1, int(max_length)
    room -= length
print(json.dumps({"rows": len(lengths), "tokens": int(lengths.sum()), "packs": packs}), flush=True)
if os.environ.get("DIGEST"):
    digests = []
    for name in ("input_ids", "labels"):
        digest = hashlib.sha256()
        for chunk in rows.data.column(name).chunks:
            digest.update(np.ascontiguousarray(chunk.flatten().to_numpy()).tobytes())
        digests.append(digest.hexdigest())
    print(json.dumps({"digest": digests}), flush=True)
