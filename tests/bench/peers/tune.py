"""Models of torchtune with the bench's weights and adapter: its own classes have no way to read PEFT's adapters."""
import json
import os

import torch
from safetensors.torch import load_file
from torchtune.models.convert_weights import hf_to_tune
from torchtune.models.llama3_2 import llama3_2, lora_llama3_2
from torchtune.models.qwen2 import lora_qwen2, qwen2
from torchtune.models.qwen2._convert_weights import qwen2_hf_to_tune
from torchtune.modules.peft import get_adapter_params, set_trainable_params
from torchtune.training import set_default_dtype

from common import dtype_of

MODULES = {"self_attn.q_proj": "attn.q_proj", "self_attn.k_proj": "attn.k_proj", "self_attn.v_proj": "attn.v_proj", "self_attn.o_proj": "attn.output_proj",
           "mlp.gate_proj": "mlp.w1", "mlp.down_proj": "mlp.w2", "mlp.up_proj": "mlp.w3"}


def read_json(*path):
    with open(os.path.join(*path)) as f:
        return json.load(f)


def build(args, config):
    shape = dict(
        vocab_size=config["vocab_size"], num_layers=config["num_hidden_layers"], num_heads=config["num_attention_heads"], num_kv_heads=config["num_key_value_heads"], embed_dim=config["hidden_size"],
        intermediate_dim=config["intermediate_size"], max_seq_len=4096, norm_eps=config["rms_norm_eps"], rope_base=config["rope_theta"], tie_word_embeddings=True,
    )
    if config["model_type"] == "llama":
        shape.update(scale_factor=1)  # rotary as it was before llama 3.1 scaled it
    plain, lora = (llama3_2, lora_llama3_2) if config["model_type"] == "llama" else (qwen2, lora_qwen2)
    if args.case != "lora":
        return plain(**shape)
    settings = read_json(args.adapter, "adapter_config.json")
    how = dict(lora_attn_modules=["q_proj", "k_proj", "v_proj", "output_proj"], apply_lora_to_mlp=True, lora_rank=settings["r"], lora_alpha=settings["lora_alpha"])
    return lora(**how, **shape)


def rotated(b, heads):
    """Rows of a query or key matrix in torchtune's order, which interleaves the halves that transformers rotates."""
    return b.view(heads, 2, -1, b.shape[1]).transpose(1, 2).reshape(b.shape)


def adapter_state(args, config):
    state, llama = {}, config["model_type"] == "llama"
    heads = {"self_attn.q_proj": config["num_attention_heads"], "self_attn.k_proj": config["num_key_value_heads"]}
    for name, value in load_file(os.path.join(args.adapter, "adapter_model.safetensors")).items():
        # base_model.model.model.layers.N.MODULE.lora_A.weight
        layer, rest = name.split(".layers.")[1].removesuffix(".weight").split(".", 1)
        module, matrix = rest.rsplit(".", 1)
        if llama and matrix == "lora_B" and module in heads:
            value = rotated(value, heads[module])
        state[f"layers.{layer}.{MODULES[module]}.{matrix.lower()}.weight"] = value
    return state


def load(args):
    """The model in the asked type with what trains: the adapter alone, or all weights."""
    config = read_json(args.model, "config.json")
    config.setdefault("rope_theta", (config.get("rope_parameters") or {}).get("rope_theta", 10000.0))
    with set_default_dtype(dtype_of(args)):
        model = build(args, config)
    stored = {name: value for name, value in load_file(os.path.join(args.model, "model.safetensors")).items() if name != "lm_head.weight"}
    heads = dict(num_heads=config["num_attention_heads"], num_kv_heads=config["num_key_value_heads"], dim=config["hidden_size"])
    state = hf_to_tune(stored, **heads) if config["model_type"] == "llama" else qwen2_hf_to_tune(stored, **heads, tie_word_embeddings=True)
    if args.case == "lora":
        state.update(adapter_state(args, config))
        set_trainable_params(model, get_adapter_params(model))
    model.load_state_dict(state, strict=True)
    return model
