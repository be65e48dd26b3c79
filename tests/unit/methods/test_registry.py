"""The registry: read without torch, and what it builds."""

import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from ksfusion.core.errors import UserError
from ksfusion.methods import METHODS, build
from ksfusion.methods.declared import methods_of_folder
from ksfusion.methods.registry import BASELINES, NETWORKS

NICHES = {"tumour": [f"T{number}" for number in range(59)], "tme": [f"E{number}" for number in range(361)]}
PAPER = {"n_features": 1024, "n_patches": 2500, "niches": NICHES, "n_outputs": 4}


def test_methods_are_listed_without_torch():
    code = (
        "import sys; from ksfusion.methods import METHODS, build; print(*METHODS);"
        "assert not {'torch', 'numpy', 'pandas'} & set(sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    paper = {"attmil", "transmil", "snn", "concat", "add", "bilinear", "mcat", "cmta", "ksfusion"}
    assert paper | {"ksfusion-no-gecon", "ksfusion-no-cgcoord", "ksfusion-alpha025", "ksfusion-released"} <= set(
        printed
    )


def test_variants_know_their_base_and_what_they_still_read():
    assert METHODS["attmil"].modalities == "p" and METHODS["snn"].modalities == "g"
    assert METHODS["ksfusion"].settings == ("alpha",) and METHODS["ksfusion"].base == "ksfusion"
    for name, options in {
        "ksfusion-alpha025": {"alpha": 0.25},
        "ksfusion-alpha100": {"alpha": 1.0},
        "ksfusion-alpha000": {"alpha": 0.0},
        "ksfusion-no-gecon": {"alpha": None},
    }.items():
        info = METHODS[name]
        assert (info.base, info.modalities, info.module) == ("ksfusion", "pg", "ksfusion.methods.ksfusion")
        assert dict(info.options) == options and info.settings == ()
    assert METHODS["ksfusion-no-cgcoord"].settings == ("alpha",)


def test_only_the_released_code_is_trained_in_a_way_of_its_own():
    assert {name: info.training for name, info in NETWORKS.items() if info.training != "paper"} == {
        "ksfusion-released": "released"
    }


def test_the_baselines_and_what_they_read():
    assert {name: info.modalities for name, info in BASELINES.items()} == {
        "clinical": "c",
        "cox-genes": "g",
        "logistic-genes": "g",
        "clinical+genes": "cg",
        "cohort": "",
        "mean-patch": "p",
    }
    of_one_kind = {name: info.kinds for name, info in BASELINES.items() if info.kinds}
    assert of_one_kind == {"cox-genes": ("survival",), "logistic-genes": ("classification",)}
    assert {*BASELINES, *NETWORKS} == set(METHODS) and not set(BASELINES) & set(NETWORKS)


def test_a_baseline_is_no_network():
    with pytest.raises(UserError, match=r"method clinical: is no network; .*load_baseline"):
        build("clinical", **PAPER)


def test_labels():
    printed = {
        "attmil": "AttMIL",
        "concat": "Concatenation",
        "ksfusion": "KS-Fusion",
        "ksfusion-no-gecon": "KS-Fusion without Ge-Con",
        "ksfusion-alpha000": "KS-Fusion, alpha 0",
        "ksfusion-alpha025": "KS-Fusion, alpha 0.25",
        "ksfusion-alpha100": "KS-Fusion, alpha 1",
        "ksfusion-released": "KS-Fusion, released code",
    }
    assert {name: METHODS[name].label for name in printed} == printed
    assert len({info.label for info in METHODS.values()}) == len(METHODS)


def test_a_new_file_is_a_new_method(tmp_path):
    (tmp_path / "mine.py").write_text(
        'import torch\n\n@register("mine", label="M", modalities="p")\nclass Mine:\n    pass\n'
    )
    (tmp_path / "other.py").write_text("def register(x):\n    return x\n\n@register\nclass Helper:\n    pass\n")
    methods = methods_of_folder(tmp_path)
    assert list(methods) == ["mine"] and methods["mine"].module == "ksfusion.methods.mine"
    (tmp_path / "twin.py").write_text('@register("mine", label="M", modalities="g")\nclass Twin:\n    pass\n')
    with pytest.raises(ValueError, match="mine"):
        methods_of_folder(tmp_path)


def test_unknown_method_names_the_known_ones():
    with pytest.raises(UserError, match=r"(?s)'ksfuson'.*attmil.*ksfusion.*snn"):
        build("ksfuson", **PAPER)


@pytest.mark.parametrize(("gone", "name"), [("ksfusion-alpha05", "alpha050"), ("ksfusion-alpha1", "alpha100")])
def test_a_spelling_that_is_gone_is_told_what_it_is_now(gone, name):
    with pytest.raises(UserError, match=f"{gone}.*ksfusion-{name} now"):
        build(gone, **PAPER)


def test_a_niche_without_genes_is_an_error():
    with pytest.raises(UserError, match="tme"):
        build("snn", **{**PAPER, "niches": {"tumour": ["A"], "tme": []}})


def test_sizes_are_the_papers():
    model = build("ksfusion", **PAPER)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for niche, genes in (("tumour", 59), ("tme", 361)):
        stream = f"streams.{niche}"
        sizes = [genes, 64, 48, 32, 128]
        encoder = [
            shape for name, shape in shapes.items() if name.startswith(f"{stream}.encode_genes") and len(shape) == 2
        ]
        assert encoder == [(after, before) for before, after in pairwise(sizes)]
        assert shapes[f"{stream}.project.weight"] == (128, 1024)
        assert shapes[f"{stream}.teach.weight"] == (128, 256)
        for name in ("w_q", "w_k", "w_v"):
            assert shapes[f"{stream}.attend.{name}"] == (8, 16, 64)
        assert shapes[f"{stream}.attend.gather.weight"] == (64, 1, 6, 6)
        assert shapes[f"{stream}.attend.to_offset.weight"] == (2, 64)
        assert shapes[f"{stream}.attend.w_o.weight"] == (128, 512)
    assert shapes["classifier.weight"] == (4, 256)
    assert not any(name.endswith("to_offset.bias") for name in shapes)


PUBLISHED = {
    "attmil": {"encoder.embed.0.weight": (512, 1024), "encoder.pool.attend.weight": (128, 512)},
    "transmil": {
        "embed.0.weight": (512, 1024),
        "transformer.first.qkv.weight": (1536, 512),
        "transformer.second.along.weight": (8, 1, 33),
        "transformer.positions.convolutions.0.weight": (512, 1, 7, 7),
    },
    "snn": {"encoder.layers.0.weight": (256, 420), "encoder.layers.3.weight": (256, 256)},
    "bilinear": {"gate_slide.weight": (32, 256, 256), "mix.1.weight": (64, 33 * 33)},
    "mcat": {
        "embed.0.weight": (256, 1024),
        "genes.networks.1.3.weight": (256, 256),
        "patch_set.transformer.layers.1.linear1.weight": (512, 256),
        "mix.0.weight": (256, 512),
    },
    "cmta": {
        "embed.3.weight": (256, 256),
        "genes.networks.0.0.weight": (1024, 59),
        "slide.encode.first.qkv.weight": (768, 256),
        "profile.decode.class_token": (1, 1, 256),
    },
    "motcat": {"embed.0.weight": (256, 1024), "genes.networks.1.3.weight": (256, 256), "mix.0.weight": (256, 512)},
    "porpoise": {"slide.embed.1.weight": (512, 1024), "mix.1.weight": (256, 33 * 33), "skip.0.weight": (256, 768)},
    "survpath": {
        "embed.weight": (256, 1024),
        "genes.networks.1.3.weight": (256, 256),
        "attend.q.weight": (128, 256),
        "feed.layers.1.weight": (128, 128),
        "mix.0.weight": (64, 256),
    },
    "ksfusion-released": {"streams.tme.attend.position_bias.second.weight": (32, 32)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_those_of_the_sources(name):
    shapes = {key: tuple(parameter.shape) for key, parameter in build(name, **PAPER).named_parameters()}
    assert {key: shapes[key] for key in PUBLISHED[name]} == PUBLISHED[name]


@pytest.mark.parametrize("name", ["attmil", "snn", "ksfusion"])
def test_output_shapes_at_the_papers_size(name):
    model = build(name, **PAPER).eval()
    with torch.inference_mode():
        out = model(torch.randn(2, 2500, 1024), {"tumour": torch.randn(2, 59), "tme": torch.randn(2, 361)})
    assert out.logits.shape == (2, 4)
    if name == "ksfusion":
        for stream in ("tumour", "tme"):
            assert out.embeddings[stream].shape == (2, 128)
            assert out.gene_embeddings[stream].shape == (2, 128) and (out.gene_embeddings[stream] >= 0).all()
            assert out.points[stream].shape == (2, 8, 144, 2)
            torch.testing.assert_close(out.attention[stream].sum(dim=2), torch.ones(2, 8))


@pytest.mark.parametrize("name", [name for name, info in NETWORKS.items() if name == info.base])
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    small = {"n_features": 16, "n_patches": 144, "niches": NICHES, "n_outputs": 3}
    model = build(name, **small)
    out = model(torch.randn(4, 144, 16), {"tumour": torch.randn(4, 59), "tme": torch.randn(4, 361)})
    torch.nn.functional.cross_entropy(out.logits, torch.tensor([0, 1, 2, 0])).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, key


def test_self_normalising_layers_keep_variance():
    torch.manual_seed(0)
    model = build("snn", n_features=1, n_patches=1, niches={"tumour": NICHES["tme"], "tme": NICHES["tme"]}, n_outputs=2)
    first = model.encoder.layers[0]
    assert first.weight.std().item() == pytest.approx(722**-0.5, rel=0.02) and not first.bias.any()
