"""Models of transformers with PEFT's adapters, as all sides start from them."""
import json
import os

import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from common import dtype_of


def load(args, dtype=None):
    """The model in `dtype` (default: the asked type) with what trains: the adapter alone, or all weights."""
    dtype = dtype or dtype_of(args)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, attn_implementation="sdpa")
    if args.case in ("full", "generate"):
        return model
    model = with_prefix(model, args.adapter) if args.case == "prefix" else PeftModel.from_pretrained(model, args.adapter, is_trainable=True, autocast_adapter_dtype=args.adapter_dtype == "fp32")
    wanted = torch.float32 if args.adapter_dtype == "fp32" else dtype
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data.to(wanted)
    return model


def with_prefix(model, folder):
    """PEFT refuses to go on training a saved prefix: a new one takes its values."""
    with open(os.path.join(folder, "adapter_config.json")) as f:
        tokens = json.load(f)["num_virtual_tokens"]
    model = get_peft_model(model, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens))
    values = load_file(os.path.join(folder, "adapter_model.safetensors"))["prompt_embeddings"]
    with torch.no_grad():
        model.prompt_encoder["default"].embedding.weight.copy_(values)
    return model


def parts(model):
    """Body (hidden states out) and head of a causal model, an adapter or none around it."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return base.model, base.lm_head


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]
