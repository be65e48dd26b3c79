"""Each rival as its paper writes it, one sample, one patch and one group of genes at a time, in evaluation mode."""

import math

import pytest
import torch
from torch.nn import functional

from ksfusion.methods import build
from ksfusion.methods.layers import self_normalising_network

pytestmark = pytest.mark.usefixtures("one_thread")

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


def test_attmil():
    model = make("attmil")
    results = [encode_slide(model.encoder, patches) for patches, _ in samples(*draw())]
    check(model, [linear(model.classifier, slide) for slide, _ in results], [weights for _, weights in results])


def test_snn():
    model = make("snn")
    embedded = [self_normalising(model.encoder.layers, profile) for _, profile in samples(*draw())]
    check(model, [linear(model.classifier, profile) for profile in embedded])


def kronecker_fusion(model, slide, profile):
    """Pathomic Fusion, equations 5 and 6: each modality gated by both, all products of the two with a 1, and a skip."""
    gated = []
    for gate, own in ((model.gate_slide, slide), (model.gate_profile, profile)):
        passing = torch.stack([slide @ weight @ profile for weight in gate.weight]) + gate.bias
        gated.append(relu(linear(gate.out[0], sigmoid(passing) * relu(linear(gate.reduce[0], own)))))
    first, second = ([*vector, 1.0] for vector in gated)
    products = torch.stack([torch.as_tensor(a * b, dtype=torch.float64) for a in first for b in second])
    (mix,), (skip,) = linears(model.mix), linears(model.skip)
    return relu(linear(skip, torch.cat([relu(linear(mix, products)), *gated])))


@pytest.mark.parametrize(
    ("name", "fuse"),
    [
        ("concat", lambda model, slide, profile: torch.cat([slide, profile])),
        ("add", lambda model, slide, profile: slide + profile),
        ("bilinear", kronecker_fusion),
    ],
    ids=["concat", "add", "bilinear"],
)
def test_fusions_of_a_slide_and_a_profile(name, fuse):
    model = make(name)
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        pooled, weights = encode_slide(model.slide, patches)
        slide = relu(linear(model.project[0], pooled))
        fused = fuse(model, slide, self_normalising(model.profile.layers, profile))
        expected.append(linear(model.classifier, fused))
        attention.append(weights)
    check(model, expected, attention)


def test_mcat():
    model = make("mcat")
    expected, attention = [], []
    for patches, profile in samples(*draw()):
        genes = gene_tokens(model.genes, profile)
        bag = [relu(linear(model.embed[0], patch)) for patch in patches]
        seen, coweights = coattention(model.coattend, genes, bag)
        slide, weights = set_transformer(model.patch_set, seen)
        expected.append(mixed(model, slide, set_transformer(model.gene_set, genes)[0]))
        attention.append(sum(weight * row for weight, row in zip(weights, coweights, strict=True)))
    check(model, expected, attention)


def test_cmta():
    """Where encoders, decoders and co-attention stand; the transformers themselves are tested with Nystrom attention.

    The translation of a modality comes from what its tokens gather among those of the other; half of the sum of its
    class token and its translation stands for it.
    """
    model = make("cmta")
    expected, attention, losses = [], [], {"patches": [], "genes": []}
    for patches, profile in samples(*draw()):
        first, second = linears(model.embed)
        bag = torch.stack([relu(linear(second, relu(linear(first, patch)))) for patch in patches])
        slide, of_patches, *_ = model.slide.encode(bag[None])
        genes, of_genes, *_ = model.profile.encode(gene_tokens(model.genes, profile)[None])
        slide_in_genes, _ = coattention(model.slide.attend, of_patches[0], of_genes[0])
        genes_in_slide, weights = coattention(model.profile.attend, of_genes[0], of_patches[0])
        slide_translated, profile_translated = (
            translator.decode(gathered[None])[0]
            for translator, gathered in ((model.slide, slide_in_genes), (model.profile, genes_in_slide))
        )
        expected.append(mixed(model, (slide + slide_translated)[0] / 2, (genes + profile_translated)[0] / 2))
        attention.append(weights.mean(dim=0))
        losses["patches"].append((slide_translated - slide).abs().mean())
        losses["genes"].append((profile_translated - genes).abs().mean())
    check(model, expected, attention)
    auxiliary = model.auxiliary_losses(model(*draw()))
    for name, values in losses.items():
        torch.testing.assert_close(auxiliary[f"translation_{name}"].value, torch.stack(values).mean())


@pytest.mark.parametrize("dropout", [0.1, 0.4])
def test_alpha_dropout_keeps_mean_and_variance(dropout):
    """Klambauer et al., section on dropout: a dropped unit is set to alpha', then all are scaled and shifted."""
    torch.manual_seed(0)
    network = self_normalising_network((3, 200_000), dropout=dropout).train()
    profile = torch.randn(1, 3)
    kept = elu(linear(network[0], profile[0]))
    saturated = -1.0507009873554805 * 1.6732632423543772  # alpha'
    scale = (1 - dropout + saturated**2 * dropout * (1 - dropout)) ** -0.5
    shift = -scale * dropout * saturated
    given = network(profile)[0]
    dropped = (given - (scale * saturated + shift)).abs() < 1e-5
    torch.testing.assert_close(given[~dropped], (scale * kept + shift)[~dropped])
    assert dropped.float().mean().item() == pytest.approx(dropout, abs=0.005)
    # Of units of mean 0 and variance 1, as those of a self-normalising network are to be.
    units = network[-1](torch.randn(200_000))
    assert units.mean().item() == pytest.approx(0, abs=0.01)
    assert units.var().item() == pytest.approx(1, abs=0.02)
