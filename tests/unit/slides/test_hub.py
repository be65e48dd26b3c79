"""Whether an encoder's weights can be had: asked of a hub on this machine that answers as the real one does."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ksfusion.slides.encoders.hub import repository_of

# As the hub answers: status, and what it says of the error.
ANSWERS = {
    "/timm/resnet50.tv_in1k/": (404, {"X-Error-Code": "EntryNotFound"}),
    "/timm/resnet50.tv_in1k/resolve/main/pytorch_model.bin": (200, {"ETag": '"1"', "X-Repo-Commit": "a" * 40}),
    "/MahmoodLab/UNI/": (403, {"X-Error-Code": "GatedRepo"}),
    "/owner/none/": (404, {"X-Error-Code": "RepoNotFound"}),
    "/owner/name/resolve/old/": (404, {"X-Error-Code": "RevisionNotFound"}),
    "/timm/resnet18/": (404, {"X-Error-Code": "RepoNotFound"}),
}
PROGRAM = """
import json, sys
from ksfusion.core.errors import UserError
from ksfusion.slides.encoders.hub import check_weights
said = {}
for encoder in sys.argv[1:]:
    try:
        check_weights(encoder)
        said[encoder] = ""
    except UserError as error:
        said[encoder] = str(error)
assert not {"torch", "timm"} & set(sys.modules)
print(json.dumps(said))
"""


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        known = max((path for path in ANSWERS if self.path.startswith(path)), key=len, default=None)
        status, headers = ANSWERS.get(known, (500, {}))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "5"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


def asked(tmp_path, *encoders, **environment):
    """Return what is said of each encoder by a process of its own: the hub's client reads its settings once."""
    settings = {"PATH": "", "HF_HOME": str(tmp_path), **environment}
    command = [sys.executable, "-c", PROGRAM, *encoders]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_the_hub_says(hub, tmp_path):
    encoders = ["resnet50", "uni", "hf-hub:owner/none", "hf-hub:owner/name@old", "timm:resnet18", "seeded-conv"]
    said = asked(tmp_path, *encoders, HF_ENDPOINT=hub)
    assert said["resnet50"] == said["timm:resnet18"] == said["seeded-conv"] == ""
    assert "uni: its weights (MahmoodLab/UNI) are not on this machine" in said["uni"]
    assert "agree at huggingface.co/MahmoodLab/UNI and set HF_TOKEN" in said["uni"]
    assert "no such repository" in said["hf-hub:owner/none"]
    assert "no revision old" in said["hf-hub:owner/name@old"]
    for text in said.values():
        assert not text or ("features.weights" in text and "\n" not in text)


def test_a_hub_that_cannot_be_reached(tmp_path):
    nobody = "http://127.0.0.1:9"
    said = asked(tmp_path, "resnet50", HF_ENDPOINT=nobody)["resnet50"]
    assert "the hub does not answer (" in said and said.endswith("efficientnet-lite0 needs no download")
    assert "HF_HUB_OFFLINE forbids" in asked(tmp_path, "resnet50", HF_HUB_OFFLINE="1")["resnet50"]


@pytest.mark.parametrize(
    ("encoder", "folder", "file"),
    [
        ("resnet50", "models--timm--resnet50.tv_in1k", "model.safetensors"),
        ("uni", "models--MahmoodLab--UNI", "pytorch_model.bin"),
        ("timm:resnet18", "models--timm--resnet18.a1_in1k", "model.safetensors"),
    ],
)
def test_weights_that_are_here_need_no_hub(tmp_path, encoder, folder, file):
    cached = tmp_path / "hub" / folder
    (cached / "snapshots/abc").mkdir(parents=True)
    (cached / "snapshots/abc" / file).write_bytes(b"x")
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("abc")
    assert asked(tmp_path, encoder, HF_HUB_OFFLINE="1")[encoder] == ""


@pytest.mark.parametrize(
    ("encoder", "repository"),
    [
        ("seeded-conv", None),
        ("efficientnet-lite0", None),
        ("virchow2", "paige-ai/Virchow2"),
        ("timm:vit_base_patch16_224.augreg", "timm/vit_base_patch16_224.augreg"),
        ("hf-hub:me/mine@v1", "me/mine@v1"),
    ],
)
def test_where_weights_are(encoder, repository):
    assert repository_of(encoder) == repository
