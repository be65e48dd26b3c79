"""Encoders by name: what the table says of them, and those that other packages build, with stand-ins for these."""

import sys
import types

import pytest
import timm
import torch
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

from ksfusion.core.errors import UserError
from ksfusion.core.provenance import code_version
from ksfusion.preflight.packages import missing_packages
from ksfusion.preflight.parsing import parse_config
from ksfusion.slides import build_encoder
from ksfusion.slides.encoders import hub, names
from ksfusion.slides.encoders.names import LITE0, RESNET50, check_encoder
from ksfusion.slides.encoders.presets import IMAGENET_MEAN, IMAGENET_STD, PRESETS
from ksfusion.stages.encoders import encoders

EXPRESSION = [{"cohort": "a", "format": "matrix", "unit": "log", "path": "m.tsv"}]


class Means(nn.Module):
    """The mean of each colour, of each half of a patch: six numbers."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, patches):
        halves = patches.chunk(2, dim=3)
        return self.scale * torch.cat([half.mean(dim=(2, 3)) for half in halves], dim=1)


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for TRIDENT and slide2vec, with the interfaces of these."""
    trident, slide2vec = types.ModuleType("trident.patch_encoder_models"), types.ModuleType("slide2vec.encoders")

    def encoder_factory(model_name):
        if model_name != "conch_v15":
            raise ValueError(f"Unknown encoder name {model_name}")
        encoder = Means()
        colours = transforms.Normalize(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
        encoder.eval_transforms = transforms.Compose([transforms.Resize(448), transforms.ToTensor(), colours])
        return encoder

    class Midnight:
        def __init__(self):
            self._model = Means()

        def get_transform(self):
            colours = v2.Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
            return v2.Compose([v2.ToImage(), v2.Resize(256), v2.CenterCrop(224), colours])

        def encode_tiles(self, batch):
            return self._model(batch)

    class OfSlides:
        pass

    class Registry:
        def require(self, name):
            return {"midnight": Midnight, "titan": OfSlides}[name]

    trident.encoder_factory, slide2vec.encoder_registry = encoder_factory, Registry()
    for module in (trident, slide2vec):
        parent = module.__name__.partition(".")[0]
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize(
    ("name", "px", "mean"),
    [
        ("trident:conch_v15", 448, (0.1, 0.2, 0.3)),
        ("conch-v1.5", 448, (0.1, 0.2, 0.3)),
        ("slide2vec:midnight", 224, (0.5, 0.5, 0.5)),
        ("Midnight", 224, (0.5, 0.5, 0.5)),
    ],
)
def test_an_encoder_of_another_package_by_its_name(packages, name, px, mean):
    encoder = build_encoder(name)
    assert (encoder.n_features, encoder.input_px, encoder.mean) == (6, px, mean)
    patches = torch.zeros(2, 3, px, px)
    patches[..., : px // 2] = 1
    assert encoder(patches).tolist() == [[1, 1, 1, 0, 0, 0]] * 2
    assert [tuple(weight.shape) for weight in encoder.state_dict().values()] == [(1,)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trident:nothing", "TRIDENT has no such encoder .*Unknown encoder name nothing"),
        ("slide2vec:nothing", "slide2vec has no such encoder"),
        ("slide2vec:titan", "encodes slides, not patches; give its vectors as slide-vectors"),
    ],
)
def test_a_name_that_the_package_has_not_is_a_line(packages, name, said):
    with pytest.raises(UserError, match=said) as told:
        build_encoder(name)
    assert "\n" not in str(told.value)


def test_without_the_package_a_line_says_so_before_any_job(monkeypatch):
    for name in ("trident", "slide2vec"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UserError, match=r"features.encoder: midnight: is built by another package.*pip install slide2vec"
    ):
        build_encoder("midnight")
    monkeypatch.setattr("ksfusion.preflight.packages.find_spec", lambda module: None)
    values = {"cohort": {"samples": "s.tsv", "cases": "c.tsv", "expression": EXPRESSION}, "methods": ["snn"]}
    config = parse_config({**values, "features": {"encoder": "slide2vec:uni"}, "stain": {"method": "none"}})
    monkeypatch.setattr("ksfusion.core.packages.find_spec", lambda module: None if module == "slide2vec" else object())
    assert missing_packages(config, {"extract_features"})[0].startswith(
        "features.encoder: slide2vec:uni: needs the package slide2vec, which is not installed"
    )


def test_a_file_of_weights_is_not_for_what_another_package_builds(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"")
    for name in ("conch-v1.5", "trident:uni_v2"):
        with pytest.raises(UserError, match="is built by another package, which has its weights; set it to null"):
            check_encoder(name, tmp_path / "w.pth")


def test_an_encoder_of_an_entry_point(tmp_path, monkeypatch):
    """A distribution as pip leaves it; its code counts in the code version, and its name is known."""
    package, info = tmp_path / "packenc", tmp_path / "packenc-0.3.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("")
    text = (
        "import torch\n\n\nclass Corner(torch.nn.Module):\n    n_features, mean, std = 3, (0.5,) * 3, (0.25,) * 3\n\n"
    )
    text += "    def forward(self, patches):\n        return patches[:, :, 0, 0]\n"
    (package / "encoders.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packenc\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[ksfusion.encoders]\ncorner = packenc.encoders:Corner\n")
    with pytest.raises(UserError, match="unknown encoder 'corner'"):
        check_encoder("corner")
    monkeypatch.syspath_prepend(str(tmp_path))
    names.own_encoders.cache_clear()
    try:
        check_encoder("corner")
        encoder = build_encoder("corner")
        assert encoder.std == (0.25, 0.25, 0.25) and encoder.input_px is None
        assert encoder(torch.full((1, 3, 8, 8), 2.0)).tolist() == [[2, 2, 2]]
        (module,) = names.modules_of_encoder("corner")
        before = code_version(module)
        (package / "encoders.py").write_text(text.replace("0, 0]", "1, 1]"))
        assert names.modules_of_encoder("corner") == (module,) and code_version(module) != before
        assert hub.repository_of("corner") is None
    finally:
        monkeypatch.undo()
        names.own_encoders.cache_clear()


@pytest.mark.parametrize(("name", "tag"), [(RESNET50, "resnet50.tv_in1k"), (LITE0, "tf_efficientnet_lite0.in1k")])
def test_the_table_says_what_timm_does(name, tag, capsys):
    """Of the two that timm has a configuration of; the hub's are not to be had without it."""
    known = timm.get_pretrained_cfg(tag)
    encoders()
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name} "))
    assert known.license.lower() in row.lower() and row.endswith(f"https://huggingface.co/{known.hf_hub_id}")
    if name == LITE0:
        encoder = build_encoder(name)
        # Its own weights were trained with 127 and 128 of 255, which timm rounds.
        assert encoder.mean == pytest.approx(known.mean, abs=1 / 255)
        assert encoder.std == pytest.approx(known.std, abs=1 / 255)
    else:
        assert (known.mean, known.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_the_table_has_every_preset_and_whether_its_weights_are_here(capsys, monkeypatch):
    monkeypatch.setattr("ksfusion.stages.encoders.is_cached", lambda repository, files=(): repository == "majiabo/GPFM")
    encoders()
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert set(PRESETS) <= set(rows) and rows["encoder"].split()[1:4] == ["features", "patch", "px"]
    assert rows["gpfm"].split()[1:7] == ["1024", "224", "0.5", "token", "no", "here"]
    assert rows["virchow"].split()[1:6] == ["2560", "224", "0.5", "token+mean", "yes"] and "not here" in rows["virchow"]
    assert "by trident or slide2vec" in rows["conch-v1.5"] and rows["conch-v1.5"].split()[2] == "448"
    assert all(preset.link in rows[name] for name, preset in PRESETS.items())
