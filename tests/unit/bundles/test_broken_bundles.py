"""Bundles that are not what they were: one clear line each, and nothing is predicted."""

import hashlib
import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from ksfusion.bundles import read_bundle
from ksfusion.bundles.encoder import bundle_encoder
from ksfusion.bundles.manifest import write_manifest
from ksfusion.core.errors import UserError
from ksfusion.predictions.request import NewPatients, write_request

MEMBER = "members/fold0/seed0"


def remade(folder):
    """Write the manifest anew, as one who changes a bundle on purpose would: what is wrong stands in the files."""
    manifest = json.loads((folder / "manifest.json").read_text())
    made_by = {name: value for name, value in manifest["provenance"].items() if name != "seal"}
    write_manifest(folder, made_by)


def change_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_manifest(folder, change):
    """Change the manifest and leave out its seal, which guards against accidents alone."""
    content = json.loads((folder / "manifest.json").read_text())
    content["provenance"].pop("seal")
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def edited(folder):
    path = folder / "calibration/fold0.json"
    path.write_text(path.read_text().replace('"cases": ', '"cases": 1'))
    return r"calibration/fold0\.json: has \d+ bytes, not \d+; copy the bundle again"


def edited_in_place(folder):
    path = folder / "settings.yaml"
    path.write_text(path.read_text().replace("patch_px: 224", "patch_px: 256"))
    return r"settings\.yaml: was changed since the bundle was made; copy the bundle again"


def truncated(folder):
    path = folder / MEMBER / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return r"model\.safetensors: has \d+ bytes, not \d+"


def truncated_and_listed(folder):
    path = folder / MEMBER / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    remade(folder)
    return rf"{MEMBER}: holds no model of this method \(.+\); copy the bundle again"


def of_wrong_shapes(folder):
    path = folder / MEMBER / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    save_file({**weights, name: torch.zeros(3, 1)}, path)
    remade(folder)
    return rf"{MEMBER}: weight {name} has 3 x 1, and the method wants"


def without_a_weight(folder):
    path = folder / MEMBER / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    del weights[name]
    save_file(weights, path)
    remade(folder)
    return rf"{MEMBER}: weight {name} has no values, and the method wants"


def of_a_later_version(folder):
    change_manifest(folder, lambda manifest: manifest.update(format=2))
    return r"is a bundle of format 2 \(made by ksfusion [\d.]+\), and this version reads format 1; update ksfusion"


def without_a_file(folder):
    (folder / "genes/fold0/scaling.tsv").unlink()
    return r"genes/fold0/scaling\.tsv: is missing; copy the bundle again"


def without_a_file_that_is_not_listed(folder):
    (folder / "genes/fold0/scaling.tsv").unlink()
    remade(folder)
    return r"genes/fold0/scaling\.tsv: is missing"


def with_a_file_more(folder):
    (folder / "members/fold0/extra.py").write_text("raise SystemExit")
    return r"extra\.py: is not in manifest\.json; remove it"


def without_manifest(folder):
    (folder / "manifest.json").unlink()
    return "is no bundle, it has no manifest.json; name a folder that ksfusion bundle made"


def with_a_manifest_of_nonsense(folder):
    (folder / "manifest.json").write_text('{"format": 1, "files": ["bundle.json"]}')
    return r"manifest\.json: was changed since the bundle was made"


def with_an_edited_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"bytes": ', '"bytes": 1', 1))
    return r"manifest\.json: was changed since the bundle was made"


def _outside(folder, name):
    target = folder.parent / "outside.json"
    target.write_text("{}")
    listed = {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2}
    change_manifest(folder, lambda manifest: manifest["files"].update({name: listed}))
    return r"manifest\.json: names '.*outside\.json', which is not a file of the bundle"


def with_a_path_upwards(folder):
    return _outside(folder, "../outside.json")


def with_a_path_upwards_in_the_middle(folder):
    return _outside(folder, "genes/../../outside.json")


def with_an_absolute_path(folder):
    return _outside(folder, str(folder.parent / "outside.json"))


def with_a_link_that_leads_out(folder):
    said = _outside(folder, "outside.json")
    (folder / "outside.json").symlink_to(folder.parent / "outside.json")
    return said


def with_a_folder_that_is_a_link(folder):
    shutil.move(folder / "genes", folder.parent / "genes")
    (folder / "genes").symlink_to(folder.parent / "genes")
    return r"manifest\.json: names 'genes/fold0/.+', which is not a file of the bundle"


def of_an_unknown_method(folder):
    change_json(folder / "bundle.json", method="../../evil")
    remade(folder)
    return r"bundle\.json: unknown method '\.\./\.\./evil'; known: .*; update ksfusion"


def of_another_method(folder):
    change_json(folder / "bundle.json", method="concat")
    remade(folder)
    return rf"{MEMBER}: is of method ksfusion, .* not of concat"


def with_an_unknown_key(folder):
    change_json(folder / "bundle.json", on_load="os.system")
    remade(folder)
    return r"bundle\.json: on_load: Extra inputs are not permitted; copy the bundle again"


def with_yaml_that_builds_objects(folder):
    (folder / "settings.yaml").write_text("slides: !!python/object/apply:os.system ['true']\n")
    remade(folder)
    return r"settings\.yaml: .*could not determine a constructor"


def with_fewer_genes(folder):
    path = folder / "genes/fold0/selected.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    remade(folder)
    return r"genes/fold0: selected\.tsv and scaling\.tsv are not of the same genes"


def with_a_spread_of_nothing(folder):
    path = folder / "genes/fold0/scaling.tsv"
    path.write_text(path.read_text().replace("\t1.0\t", "\t0.0\t", 1))
    remade(folder)
    return r"scaling\.tsv: a gene stands twice, or its sd is not above 0"


def with_another_summary(folder):
    path = folder / "training/fold0.safetensors"
    arrays = load_file(path)
    arrays["features.mean"] = arrays["features.mean"][:-1].clone()
    save_file(arrays, path)
    remade(folder)
    return r"training/fold0\.safetensors: holds no summary of training \(sizes do not fit together\)"


BEGINNINGS = ("edited", "truncated", "of", "with", "without")
BROKEN = [value for name, value in list(globals().items()) if name.split("_")[0] in BEGINNINGS]


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda function: function.__name__)
def test_a_broken_bundle_is_one_clear_line(bundled, tmp_path, breaks):
    folder = shutil.copytree(bundled, tmp_path / "B")
    said = breaks(folder)
    with pytest.raises(UserError, match=said) as told:
        read_bundle(folder)
    assert "\n" not in str(told.value)
    assert str(folder) in str(told.value)


def test_a_bundle_in_need_of_an_encoder_that_is_not_there(bundled, tmp_path):
    folder = shutil.copytree(bundled, tmp_path / "B")
    contents = json.loads((folder / "bundle.json").read_text())
    change_json(folder / "bundle.json", encoder={**contents["encoder"], "name": "timm:of_another_day"})
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    settings["features"]["encoder"] = "timm:of_another_day"
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    remade(folder)
    found = read_bundle(folder)
    with pytest.raises(UserError, match="encoder timm:of_another_day, which the bundle needs, is not there") as told:
        bundle_encoder(found.contents.encoder, found.settings)
    assert "\n" not in str(told.value)


def test_nothing_is_asked_of_a_bundle_whose_encoder_is_not_there(bundled, tmp_path):
    """`ksfusion predict` and `evaluate` say so before a slide is read, and write nothing."""
    with pytest.raises(UserError, match="encoder seeded-conv gives 192 features here, and the bundle needs 12"):
        write_request(NewPatients(bundled, tmp_path / "new.tsv", tmp_path / "D"))
    assert not (tmp_path / "D").exists()
