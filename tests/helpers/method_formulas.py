"""Layers of the rival methods as their papers write them: one sample, one patch and one group of genes at a time."""

import math

import torch
from torch.nn import functional

from ksfusion.methods import build

NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E", "F", "G"]}
GROUPS = {"growth": ["C", "A"], "immune": ["E", "F", "B", "G"], "vessels": ["D"]}
COLUMNS = {"growth": [2, 0], "immune": [4, 5, 1, 6], "vessels": [3]}  # in tumour genes, then those of the TME
N_PATCHES, N_FEATURES = 9, 5


def make(name: str, **options):
    """Build a method in double precision, with biases and norms that are not those of a fresh one."""
    torch.manual_seed(0)
    sizes = {"n_features": N_FEATURES, "n_patches": N_PATCHES, "niches": NICHES, "n_outputs": 3, "groups": GROUPS}
    model = build(name, **sizes, **options).double().eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return model


def draw(n_samples: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    sizes = {"generator": random, "dtype": torch.float64}
    genes = {niche: torch.randn(n_samples, len(symbols), **sizes) for niche, symbols in NICHES.items()}
    return torch.randn(n_samples, N_PATCHES, N_FEATURES, **sizes), genes


def samples(patches, genes):
    """Return the patches and the genes, tumour first, of each sample."""
    return zip(patches, torch.cat([genes["tumour"], genes["tme"]], dim=1), strict=True)


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def relu(x):
    return torch.where(x > 0, x, 0)


def elu(x):
    return torch.where(x > 0, x, torch.exp(x) - 1)


def softmax(x):
    return torch.exp(x) / torch.exp(x).sum()


def linear(layer, x):
    return layer.weight @ x + (0 if layer.bias is None else layer.bias)


def linears(layers) -> list[torch.nn.Linear]:
    return [layer for layer in layers if isinstance(layer, torch.nn.Linear)]


def self_normalising(layers, x):
    """Klambauer et al.: layers with ELU."""
    for layer in linears(layers):
        x = elu(linear(layer, x))
    return x


def gated_attention(pool, bag):
    """Ilse et al., equations 8 and 9: a_k of w^T (tanh(V h_k) * sigm(U h_k)), z the sum of a_k h_k."""
    scores = [pool.score.weight @ (torch.tanh(linear(pool.attend, h)) * sigmoid(linear(pool.gate, h))) for h in bag]
    weights = softmax(torch.cat(scores))
    return sum(weight * h for weight, h in zip(weights, bag, strict=True)), weights


def encode_slide(encoder, patches):
    (embed,) = linears(encoder.embed)
    return gated_attention(encoder.pool, [relu(linear(embed, patch)) for patch in patches])


def coattention(attend, queries, context):
    """MCAT, equation 2: each query gathers values by softmax(q k^T / sqrt(d)); then a linear layer."""
    gathered, weights = [], []
    for query in queries:
        q = linear(attend.q, query)
        weights.append(softmax(torch.stack([q @ linear(attend.k, token) for token in context]) / math.sqrt(len(q))))
        values = sum(w * linear(attend.v, token) for w, token in zip(weights[-1], context, strict=True))
        gathered.append(linear(attend.out, values))
    return torch.stack(gathered), torch.stack(weights)


def transformer_layer(layer, tokens):
    """Vaswani et al.: attention by heads, and two layers with ReLU; each added to its input, and the sum normalised."""
    heads, width = layer.self_attn.num_heads, tokens.shape[1]
    q, k, v = (tokens @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(3, dim=1)
    size = width // heads
    attended = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        weights = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(size), dim=1)
        attended.append(weights @ v[:, part])
    attended = layer.self_attn.out_proj(torch.cat(attended, dim=1))
    tokens = functional.layer_norm(tokens + attended, (width,), layer.norm1.weight, layer.norm1.bias)
    fed = layer.linear2(relu(layer.linear1(tokens)))
    return functional.layer_norm(tokens + fed, (width,), layer.norm2.weight, layer.norm2.bias)


def set_transformer(module, tokens):
    for layer in module.transformer.layers:
        tokens = transformer_layer(layer, tokens)
    pooled, weights = gated_attention(module.pool, tokens)
    return relu(linear(module.rho[0], pooled)), weights


def gene_tokens(module, profile):
    networks = zip(module.networks, COLUMNS.values(), strict=True)
    return torch.stack([self_normalising(network, profile[columns]) for network, columns in networks])


def mixed(model, slide, profile):
    """The layers on both modalities side by side, and the classifier."""
    first, second = linears(model.mix)
    return linear(model.classifier, relu(linear(second, relu(linear(first, torch.cat([slide, profile]))))))


def check(model, expected, attention=None):
    out = model(*draw())
    torch.testing.assert_close(out.logits, torch.stack(expected))
    if attention is not None:
        torch.testing.assert_close(out.attention.double(), torch.stack(attention), rtol=1e-5, atol=1e-6)
