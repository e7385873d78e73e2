"""TRL's SFTTrainer. Default: as a newcomer writes it, all settings but the bench's own (batch, rate, order, type) as they come.
Best: rows laid end to end (padding_free), no gradient checkpointing, weights in the asked type without autocast, fused AdamW."""
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from common import arguments, batches, faults, tell_end, tell_step
from hf import load

args = arguments()
best, bf16 = args.form != "default", args.dtype == "bf16"
# The default keeps fp32 weights and computes under autocast, as SFTConfig's bf16 does.
model = load(args, None if best else torch.float32)
rows = list(batches(args))
size = len(rows[0])
data = Dataset.from_list([dict(input_ids=ids, labels=[-100] * first + ids[first:]) for batch in rows for ids, first in batch])
# Rows laid end to end: a prefix would stand before the first one alone, and OPT does not keep them apart (its loss differs).
flat = best and args.case != "prefix" and model.config.model_type != "opt"
# Prefix tuning does not go with gradient checkpointing in PEFT.
how = dict(gradient_checkpointing=False) if best or args.case == "prefix" else {}
if best:
    how.update(padding_free=flat, optim="adamw_torch_fused", dataloader_pin_memory=False)
if args.form == "compile":
    how.update(torch_compile=True)


class Lines(TrainerCallback):
    def __init__(self):
        self.begun, self.seconds = time.perf_counter(), 0.0

    def on_step_begin(self, args_, state, control, **kwargs):
        self.before, self.start = faults(), time.perf_counter()

    def on_step_end(self, args_, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.start
        if state.global_step >= 3 and time.perf_counter() - self.begun > args.seconds:
            control.should_training_stop = True

    def on_log(self, args_, state, control, logs=None, **kwargs):
        if "loss" in logs:
            tell_step(state.global_step, rows[state.global_step - 1], self.seconds, float(logs["loss"]), self.before)


with tempfile.TemporaryDirectory() as out:
    config = SFTConfig(
        output_dir=out, max_steps=len(rows), per_device_train_batch_size=size, learning_rate=args.lr, lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=1.0,
        train_sampling_strategy="sequential", logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True, bf16=bf16 and not best, max_length=None, **how,
    )
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(args.model), callbacks=[Lines()])
    trainer.train()
said = "padding_free, " if flat else "autocast, " if bf16 and not best else ""
tell_end(f"{args.dtype}, {said}{'no ' if how else ''}gradient checkpointing{', compiled' if args.form == 'compile' else ''}")
