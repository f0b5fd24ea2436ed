#!/usr/bin/env python3
"""Attention in NumPy as a backend of attest: process:python3 numpy_attention.py. The protocol is in ../README.md."""

import json
import sys

import numpy as np


def read(entry):
    """An input as f32, or as f64 would be: bfloat16 comes as its 16 bits."""
    array = np.load(entry["file"])
    if entry["dtype"] == "bf16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def slopes(n_head, max_bias):
    n2 = 1 << (n_head.bit_length() - 1)
    exponents = [(h + 1) / n2 if h < n2 else (2 * (h - n2) + 1) / (2 * n2) for h in range(n_head)]
    return np.exp2(-max_bias * np.array(exponents))


def head(q, k, v, mask, sink, slope, problem):
    """One head of one sequence: q [n_q, d_k], k [n_kv, d_k], v [n_kv, d_v], mask [n_q, n_kv] or None."""
    hidden = np.zeros((q.shape[0], k.shape[0]), bool) if mask is None else np.isneginf(mask)
    # Keys that a row may not see can hold anything, NaN included: they are taken out, not multiplied by 0.
    dead = hidden.all(axis=0)
    k, v = np.where(dead[:, None], 0, k), np.where(dead[:, None], 0, v)
    with np.errstate(all="ignore"):
        scores = q @ k.T * np.float32(problem["scale"])
        if problem["softcap"] > 0:
            cap = np.float32(problem["softcap"])
            scores = cap * np.tanh(scores / cap)
        if mask is not None:
            scores = scores + np.float32(slope) * np.where(hidden, np.float32(0), mask)
        scores = np.where(hidden, -np.inf, scores)
        top = scores.max(axis=1, initial=-np.inf if sink is None else sink, keepdims=True)
        weights = np.where(hidden, np.float32(0), np.exp(scores - np.where(np.isinf(top), 0, top)))
        total = weights.sum(axis=1, keepdims=True, dtype=np.float32)
        if sink is not None:
            total = total + np.exp(np.float32(sink) - np.where(np.isinf(top), 0, top))
        out = np.where(hidden.all(axis=1)[:, None], 0, weights @ v / total)
    return out.astype(np.float32)


def attention(problem, inputs):
    q, k, v = (read(inputs[name]) for name in ("q", "k", "v"))  # [n_seq, n_head, n, d]
    mask = read(inputs["mask"]) if "mask" in inputs else None
    sinks = read(inputs["sinks"]) if "sinks" in inputs else None
    n_seq, n_head = q.shape[:2]
    slope = slopes(n_head, problem["max_bias"])
    out = np.zeros((n_seq, problem["n_q"], n_head, problem["d_v"]), np.float32)
    for s in range(n_seq):
        kv = s * k.shape[0] // n_seq
        for h in range(n_head):
            plane = None if mask is None else mask[s % mask.shape[0], h % mask.shape[1]]
            sink = None if sinks is None else sinks[h]
            out[s, :, h] = head(q[s, h], k[kv, h * k.shape[1] // n_head], v[kv, h * v.shape[1] // n_head], plane, sink,
                                slope[h], problem)
    return out


CAPABILITIES = {
    "attest": 1,
    "name": "numpy attention",
    "build": "numpy " + np.__version__,
    "ops": ["flash_attn_ext"],
    "dtypes": {"k": ["f32", "f16", "bf16"], "v": ["f32", "f16", "bf16"], "mask": ["f16", "f32"]},
    "features": ["mask", "alibi", "softcap", "sinks", "gqa", "v-heads", "d_v", "sequences", "broadcast"],
    "transfer": "npy",
    # BLAS adds in an order of its own, and nothing is rounded below f32.
    "contract": {"path": "numpy", "any_order": True, "products_rounded": True, "eps_exp": 2**-21, "eps_tanh": 2**-21},
}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if request["ask"] == "capabilities":
            reply = CAPABILITIES
        else:
            file = request["output"]["file"]
            np.save(file, attention(request["problem"], request["inputs"]))
            reply = {"id": request["id"], "output": file}
        print(json.dumps(reply), flush=True)


main()
