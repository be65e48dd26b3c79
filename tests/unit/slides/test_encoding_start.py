"""How the encoding of a batch begins: its readers start while PyTorch is imported."""

import subprocess
import sys

# The device is chosen first of all that needs PyTorch.
PROGRAM = """
import importlib
import multiprocessing
import sys
from pathlib import Path

from ksfusion.slides.config import Encoding, ExtractFeaturesSettings, Reading, Stain

stage = importlib.import_module("ksfusion.stages.extract_features")


def choose_device(device):
    print(len(multiprocessing.active_children()), "torch" in sys.modules)
    sys.exit()


stage.choose_device = choose_device
settings = ExtractFeaturesSettings(slides=Reading(), stain=Stain(), features=Encoding())
if __name__ == "__main__":
    stage.extract_features(*[Path("none")] * 5, threads=2, settings=settings)
"""


def test_readers_run_before_torch_is_imported(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "False"], done.stderr
