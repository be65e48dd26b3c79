"""The report as a browser shows it: nothing on its console, tables that sort, no barrier that axe-core knows."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_files import report_of
from run_files import ROWS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# `npm install axe-core`, anywhere; this names its axe.min.js.
AXE = Path(os.environ.get("KSFUSION_AXE", "node_modules/axe-core/axe.min.js"))
OTHERS = [(f"S{i}", f"C{i}", "a", i % 2, 0.6 - 0.2 * (i % 2), 0.4 + 0.2 * (i % 2)) for i in range(12)]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    report_of(folder, rows=ROWS + OTHERS, reference=ROWS + OTHERS[::-1], notice="Drawn.")
    return folder / "report.html"


def opened(page, *options):
    """Open a page; return its DOM after its scripts, and what was written to the console."""
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--enable-logging=stderr"]
    command = [CHROMIUM, *fixed, *options, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def with_script(page, script):
    """Write the page with a script at its end that its policy would not let pass."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    changed = page.with_name("changed.html")
    changed.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return changed


def told(dom):
    (text,) = re.findall(r'<pre id="told">(.*?)</pre>', dom, flags=re.DOTALL)
    return json.loads(html.unescape(text))


TELL = (
    "const p = document.createElement('pre'); p.id = 'told'; p.textContent = JSON.stringify(found);"
    " document.body.append(p);"
)


def test_nothing_is_written_to_the_console(page):
    dom, console = opened(page)
    assert console == []
    assert dom.count('aria-sort="none"') > 10  # its own script has run under its policy


def test_a_policy_that_is_broken_would_be(page):
    """What the test above would see."""
    text = page.read_text(encoding="utf-8").replace("</body>", "<script>1;</script></body>")
    broken = page.with_name("broken.html")
    broken.write_text(text, encoding="utf-8")
    _, console = opened(broken)
    assert any("Content Security Policy" in line for line in console)


def test_a_column_is_sorted_by_its_numbers_and_back_again(page):
    script = """
      const table = document.querySelector("table.plain");
      const body = table.tBodies[0];
      body.replaceChildren(...["9", "\u22121.5", "\u2013", "10.5"].map((value) => {
        const row = document.createElement("tr");
        ["x", value].forEach((text) => { row.append(document.createElement("td")); row.lastChild.textContent = text; });
        return row;
      }));
      const head = table.tHead.rows[0].cells[1];
      const shown = () => [head.getAttribute("aria-sort"), ...Array.from(body.rows, (row) => row.cells[1].textContent)];
      const found = [shown()];
      head.querySelector("button").click();
      found.push(shown());
      head.querySelector("button").click();
      found.push(shown());
    """
    dom, console = opened(with_script(page, script + TELL))
    assert console == []
    assert told(dom) == [
        ["none", "9", "\N{MINUS SIGN}1.5", "\N{EN DASH}", "10.5"],
        ["descending", "10.5", "9", "\N{MINUS SIGN}1.5", "\N{EN DASH}"],
        ["ascending", "\N{MINUS SIGN}1.5", "9", "10.5", "\N{EN DASH}"],
    ]


def test_what_a_cell_tells_a_mouse_it_tells_the_keyboard_and_a_finger(page):
    script = """
      const table = document.querySelector("table.results");
      const line = table.closest(".scroll").nextElementSibling;
      const found = [table.querySelectorAll("td[tabindex='0']").length, line.getAttribute("role")];
      const tell = () => found.push([line.textContent, document.activeElement.title]);
      table.querySelector("td[tabindex='0']").focus();
      tell();
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      ["ArrowRight", "ArrowDown", "ArrowDown"].forEach((key) => { press(key); tell(); });
      table.tBodies[0].rows[0].cells[4].querySelector("span").click();
      found.push(line.textContent, table.querySelectorAll("td[tabindex='0']").length);
    """
    dom, console = opened(with_script(page, script + TELL))
    assert console == []
    one_stop, role, *moves, tapped, still_one = told(dom)
    assert (one_stop, role, still_one) == (1, "status", 1)
    assert [line.partition(": ")[0] for line, _ in moves] == [
        "SNN, Grading, AUC",
        "SNN, Grading, Acc.",
        *["KS-Fusion, Grading, Acc."] * 2,
    ]
    assert all(line.endswith(f": {title}") and title.startswith("n = 15, 95 % interval ") for line, title in moves)
    assert tapped.startswith("SNN, Grading, Sens.: n = 15")


@pytest.mark.parametrize("width", [390, 1000, 1600])
def test_it_is_no_wider_than_the_window(page, width):
    script = "const found = [document.documentElement.scrollWidth, window.innerWidth];"
    # A headless window is no narrower than 500 px: a frame is.
    frame = page.with_name("frame.html")
    with_script(page, script + "parent.postMessage(found, '*');" + TELL)
    frame.write_text(
        f'<body><iframe src="changed.html" width="{width}" height="900"></iframe><script>'
        f"addEventListener('message', (event) => {{ const found = event.data; {TELL} }});</script></body>"
    )
    dom, _ = opened(frame, "--allow-file-access-from-files", "--window-size=1800,1000")
    needed, inner = told(dom)
    assert inner == width and needed <= width


@pytest.mark.skipif(
    not AXE.is_file(), reason="no axe-core here: npm install axe-core, KSFUSION_AXE names its axe.min.js"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(page, scheme):
    script = AXE.read_text(encoding="utf-8") + (
        ";document.querySelectorAll('details').forEach((part) => (part.open = true));"
        "axe.run().then((result) => { const found = result.violations.map((v) => [v.id, v.nodes[0].html]);"
        + TELL
        + "});"
    )
    dom, _ = opened(with_script(page, script), f"--blink-settings=preferredColorScheme={int(scheme == 'light')}")
    assert told(dom) == []
