"""Slides at addresses: read from a server of our own that hands out parts of files."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from sections import tile
from slide_files import reason_of, write_slide
from stained_slides import PLANTED, stained

from ksfusion.core.parquet import read_parquet
from ksfusion.slides import open_slide


class PartsHandler(BaseHTTPRequestHandler):
    """Hands out files of a folder, whole or the bytes asked for."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.respond(with_body=False)

    def do_GET(self):
        self.respond(with_body=True)

    def respond(self, *, with_body):
        path = self.server.folder / self.path.strip("/")
        if path.name == "broken.tiff" or not path.is_file():
            self.send_response(500 if path.name == "broken.tiff" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        size, asked = len(content), re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
            content = content[first : last + 1]
            self.server.parts.append(len(content))
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """Serve the test's folder; what was asked for in parts is in ``parts``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), PartsHandler)
    server.folder, server.parts = tmp_path, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_slide_is_read_in_parts(tmp_path, server):
    rgb = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), dtype=np.uint8)
    size = write_slide(tmp_path / "a.tiff", rgb, 0.5, compression="deflate").stat().st_size
    with open_slide(f"{server.address}/a.tiff") as slide:
        assert slide.mpp == pytest.approx(0.5) and slide.mpp_source == "resolution_tag"
        assert np.array_equal(slide.read(100, 50, 224, 0.5), rgb[50:274, 100:324])
    # The whole of it, 27 MB, was not fetched.
    assert server.parts and sum(server.parts) < size


def test_failures_have_reasons(server):
    assert reason_of(f"{server.address}/none.tiff", 0.5) == "missing_file"
    assert reason_of(f"{server.address}/broken.tiff", 0.5) in ("missing_file", "unreadable")
    assert reason_of("http://127.0.0.1:9/a.tiff", 0.5) in ("missing_file", "unreadable")


@pytest.mark.slow
def test_a_batch(tmp_path, server):
    write_slide(tmp_path / "a.tiff", stained(PLANTED, side=1344), 0.5)
    addresses = [f"{server.address}/{name}.tiff" for name in ("a", "none")]
    table = pd.DataFrame({"slide_id": ["a", "none"], "slide": addresses, "mpp": np.nan})
    table.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    tile(tmp_path / "samples.tsv", tmp_path / "tiles.parquet")
    tiles = read_parquet(tmp_path / "tiles.parquet").groupby("slide_id")
    assert tiles["reason"].first().to_dict() == {"a": "", "none": "missing_file"}
    assert tiles.size().to_dict() == {"a": 36, "none": 1}
