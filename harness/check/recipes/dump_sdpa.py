"""Writes calls of torch's scaled_dot_product_attention as .safetensors and a manifest for `attest check`.

    import dump_sdpa
    dump_sdpa.start("captured", most=8)   # before the model runs
    model(...)
    dump_sdpa.stop()
"""

import os

import torch
from safetensors.torch import save_file

_sdpa = torch.nn.functional.scaled_dot_product_attention


def start(directory, most=8):
    os.makedirs(directory, exist_ok=True)
    manifest = open(os.path.join(directory, "manifest.toml"), "w")
    count = 0

    def dumping(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        nonlocal count
        out = _sdpa(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if count < most and dropout_p == 0 and query.dim() == 4:
            count += 1
            tensors = {"q": query, "k": key, "v": value, "o": out}
            lines = [f'[[case]]\nname = "call {count}"\nlayout = "bhsd"']
            if attn_mask is not None:
                tensors["mask"] = attn_mask.expand(*[-1] * (attn_mask.dim() - 1), key.shape[2])
                lines.append(f'mask = "{count}.safetensors:mask"')  # bool: true takes part
            if is_causal:
                lines.append('causal = "top-left"')  # torch's is_causal when there are more keys than queries
            if scale is not None:
                lines.append(f"scale = {float(scale)!r}")
            lines += [f'{name} = "{count}.safetensors:{name}"' for name in "qkv"]
            lines.append(f'expected = "{count}.safetensors:o"')
            tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
            save_file(tensors, os.path.join(directory, f"{count}.safetensors"))
            manifest.write("\n".join(lines) + "\n\n")
            manifest.flush()
        return out

    torch.nn.functional.scaled_dot_product_attention = dumping


def stop():
    torch.nn.functional.scaled_dot_product_attention = _sdpa
