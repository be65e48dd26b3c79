"""Methods from the user's files and from other packages: known without running them, and mistakes that are lines."""

import ast
import importlib.metadata
import os
import subprocess
import sys

import pytest
import torch

from ksfusion.core.errors import UserError
from ksfusion.core.job_shell import METHODS_VARIABLE, job_prefix
from ksfusion.core.provenance import code_version
from ksfusion.methods import METHODS, build, own_files, use_methods
from ksfusion.methods.registry import NETWORKS, SHIPPED
from ksfusion.methods.template import class_name_of, method_text, text_of_test
from ksfusion.methods.trial import try_method
from ksfusion.preflight.parsing import parse_config
from ksfusion.stages.new import new

pytestmark = pytest.mark.usefixtures("one_thread", "_forgotten")

SIZES = {"n_features": 4, "n_patches": 9, "niches": {"tumour": ["A"], "tme": ["B"]}, "n_outputs": 3}
HEAD = "import torch\nfrom torch import nn\nfrom ksfusion.methods.output import Method, MethodOutput\n"
HEAD += "from ksfusion.methods.registry import register\n"
BUILD = "def __init__(self, inputs):\n        super().__init__()\n        "
BUILD += "self.layer = nn.Linear(inputs.n_features, inputs.n_outputs)"
FORWARD = "def forward(self, patches, genes):\n        return MethodOutput(self.layer(patches.mean(dim=1)))"


@pytest.fixture
def _forgotten():
    yield
    use_methods()


def text(*, name="own", arguments='label="Own", modalities="p"', base="(Method)", build=BUILD, forward=FORWARD) -> str:
    return f'{HEAD}\n\n@register("{name}", {arguments})\nclass Own{base}:\n    {build}\n\n    {forward}\n'


@pytest.fixture
def written(tmp_path):
    def write(content: str, name: str = "own.py"):
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


def test_a_file_is_known_without_being_run(written):
    path = written(text() + "\nraise RuntimeError('run')\n")
    use_methods([path])
    info = METHODS["own"]
    assert (info.label, info.modalities, info.file) == ("Own", "p", path) and NETWORKS["own"] == info
    with pytest.raises(UserError, match=r"own\.py, line 16: RuntimeError: run; correct it"):
        build("own", **SIZES)
    use_methods()
    assert "own" not in METHODS and dict(METHODS) == dict(SHIPPED)


def test_a_file_that_ends_the_process_is_a_line(written):
    use_methods([written(text() + "\nraise SystemExit(3)\n")])
    with pytest.raises(UserError, match=r"own\.py, line 16: SystemExit: 3; correct it"):
        build("own", **SIZES)


def test_a_class_without_options_is_built(written):
    """Settings that it does not name, such as dropout, are not given to it."""
    use_methods([written(text())])
    model = build("own", **SIZES, dropout=0.3)
    assert model(torch.ones(2, 9, 4), {}).logits.shape == (2, 3)
    dropping = BUILD.replace("inputs)", "inputs, dropout=0.0)", 1) + "\n        self.dropout = dropout"
    use_methods([written(text(build=dropping))])
    assert build("own", **SIZES, dropout=0.3).dropout == 0.3
    assert build("own", **SIZES).dropout == 0.0


def test_variants_and_their_options(written):
    arguments = 'label="Own", modalities="p", variants={"own-wide": {"width": 7}}, labels={"own-wide": "Wide"}'
    build_text = BUILD.replace("inputs)", "inputs, width=2)", 1) + "\n        self.width = width"
    use_methods([written(text(arguments=arguments, build=build_text))])
    assert build("own-wide", **SIZES).width == 7 and build("own", **SIZES).width == 2
    assert METHODS["own-wide"].label == "Wide" and METHODS["own-wide"].base == "own"


def test_only_the_code_of_the_file_changes_the_code_version_of_its_runs(written):
    def versions():
        use_methods([written(content)])
        stage = "ksfusion.stages.train_model"
        return code_version(stage, METHODS["own"].module), code_version(stage, METHODS["snn"].module)

    content = text()
    own, other = versions()
    content = "# A word.\n" + text(arguments='label="New name", modalities="p"')
    assert versions() == (own, other)
    content = text(forward=FORWARD.replace("mean", "amax"))
    changed, same = versions()
    assert changed != own and same == other
    # And what is built is the code of the file as it is now.
    model = build("own", **SIZES)
    patches = torch.rand(2, 9, 4)
    torch.testing.assert_close(model(patches, {}).logits, model.layer(patches.amax(dim=1)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("def x(:\n", r"line 1: invalid syntax; correct it"),
        ("x = 1\n", r"own.py: has no class under @register\(\.\.\.\); `ksfusion new method NAME`"),
        ("import no_such_package\n" + text(), "line 1: imports no_such_package, which is not installed"),
        ("from .beside import x\n" + text(), "line 1: imports from its folder; a file of methods stands alone"),
        (
            text().replace("import Method, MethodOutput", "import Method, Output"),
            "line 3: ksfusion.methods.output has no Output; correct the name",
        ),
        (text().replace("methods.output", "methods.outputs"), "there is no module ksfusion.methods.outputs"),
        (text(name="AttMIL"), r"class Own: there is a method attmil already \(of ksfusion\); choose another name"),
        (text(name="a/b"), "'a/b' can be no name"),
        (text(name="../up"), "can be no name"),
        (text(arguments='label="Own"'), "register needs modalities"),
        (text(arguments='label="Own", modalities="px"'), "modalities 'px': use 'p', 'g', 'pg'"),
        (text(arguments='label="Own", modalities="p", width=3'), "register takes no width"),
        (text(arguments='label="Own", modalities="p", partial=1'), "partial must be bool, not 1"),
        (text(arguments='label="O" + "wn", modalities="p"'), "the arguments of register must be literals"),
        (text(arguments='label="Own", modalities="p", settings=("lr",)'), "training has no 'lr' for one method"),
        (text(arguments='label="Own", modalities="p", training="baseline"'), "use 'paper' or 'released'"),
        (text(arguments='label="Own", modalities="p", teacher="nobody"'), "its teacher 'nobody' is no method"),
        (text(base=""), r"has no base class; write class Own\(Method\)"),
        (text(build="def __init__(self):\n        pass"), "__init__ must take the inputs"),
        (
            text(build=BUILD.replace("inputs)", "inputs, width)", 1)),
            "__init__ demands width, which nothing gives; give it a default",
        ),
        (
            text(arguments='label="Own", modalities="p", settings=("alpha",)'),
            r"__init__ takes no alpha, which register declares; add it, or \*\*options",
        ),
        (text(forward="def forward(self, patches):\n        pass"), "forward must take patches and genes"),
    ],
)
def test_a_mistake_is_one_line_without_running_the_file(written, content, said):
    with pytest.raises(UserError, match=said) as told:
        use_methods([written(content)])
    assert "\n" not in str(told.value) and str(told.value).startswith(str(written(content)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (text(base="(nn.Module)"), r"method own: is no Method; write class Own\(Method\)"),
        (text().replace("inputs.n_outputs", "inputs.n_classes"), "cannot be built .*n_classes.*; correct __init__"),
        (text(forward=FORWARD.replace("MethodOutput", "")), "forward returns Tensor; return MethodOutput"),
        (text().replace("inputs.n_outputs", "5"), r"logits are \(4, 5\), and must be \(samples, outputs\): \(4, 3\)"),
        (text(forward=FORWARD.replace("dim=1", "dim=2")), "fails on 4 samples .*; correct forward"),
        (text(forward="answer = 3"), "Own has neither forward nor join; write forward"),
        (text(forward=FORWARD.replace("mean(dim=1)", "mean(dim=1) / 0")), "a logit is not finite"),
    ],
)
def test_a_mistake_that_running_shows_is_one_line(written, content, said):
    use_methods([written(content)])
    with pytest.raises(UserError, match=said) as told:
        try_method("own")
    assert "\n" not in str(told.value) and "own.py" in str(told.value)


def test_a_method_of_two_parts_needs_no_forward(written):
    join = "def join(self, of_patches, of_genes):\n        return MethodOutput(self.layer(of_patches.mean(dim=1)))"
    use_methods([written(text(forward=join))])
    try_method("own")
    parts, (patches, genes) = build("own", **SIZES), (torch.rand(2, 9, 4), {"tumour": torch.rand(2, 1)})
    assert torch.equal(parts(patches, genes).logits, parts.layer(patches.mean(dim=1)))


def test_files_that_are_no_file_or_have_one_name(written, tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.py: is not there, or is no file"):
        use_methods([tmp_path / "nowhere.py"])
    (tmp_path / "a").mkdir()
    first, second = written(text()), written(text(name="other"), "a/own.py")
    with pytest.raises(UserError, match=r"a/own\.py: has the name of .*own\.py; rename one of them"):
        use_methods([first, second])
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bytes\.py: is not text in UTF-8; name a file of Python"):
        use_methods([tmp_path / "bytes.py"])


def test_the_jobs_of_a_run_know_the_files(written, tmp_path):
    """Through the shell of the rules, with a blank and a quote in the path, from another folder."""
    (tmp_path / "it's mine").mkdir()
    path = written(text(), "it's mine/own.py")
    prefix = job_prefix("src", in_checkout=False, conda=False, methods_from=[os.path.relpath(path)])
    code = "import sys; from ksfusion.methods import METHODS; print(METHODS['own'].file); "
    code += "assert 'torch' not in sys.modules"
    shell = prefix.format() + f'"{sys.executable}" -c "{code}"'
    done = subprocess.run(["bash", "-c", shell], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(path)
    assert METHODS_VARIABLE not in job_prefix("src", in_checkout=False, conda=False)


def test_a_package_brings_methods(tmp_path, monkeypatch, caplog):
    """A distribution as pip leaves it: a package with a module beside it, and the entry point; one with a mistake."""
    package, info = tmp_path / "packmil", tmp_path / "packmil-1.2.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("raise ImportError('the package is not imported to list its methods')\n")
    (package / "sizes.py").write_text("WIDTH = 3\n")
    (package / "methods.py").write_text("from .sizes import WIDTH\n" + text(name="packmil"))
    (package / "broken.py").write_text("x = (\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packmil\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[ksfusion.methods]\nbroken = packmil.broken\nmine = packmil.methods\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own_files._entry_points.cache_clear()
    try:
        assert [entry.name for entry in importlib.metadata.entry_points(group="ksfusion.methods")] == ["broken", "mine"]
        use_methods()
        assert METHODS["packmil"].package == "packmil 1.2" and METHODS["packmil"].module == "packmil.methods"
        assert "package packmil 1.2: its methods are left out" in caplog.text
        before = code_version(METHODS["packmil"].module)
        (package / "sizes.py").write_text("WIDTH = 4\n")
        use_methods()
        assert code_version(METHODS["packmil"].module) != before
        (package / "__init__.py").write_text("")
        assert build("packmil", **SIZES)(torch.ones(2, 9, 4), {}).logits.shape == (2, 3)
    finally:
        monkeypatch.undo()
        own_files._entry_points.cache_clear()


def test_what_new_writes_passes_its_own_test(tmp_path):
    new("method", tmp_path / "folder/my_mil")
    lines = (tmp_path / "folder/my_mil.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 25
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "folder/test_my_mil.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "7 passed" in done.stdout, done.stdout
    with pytest.raises(UserError, match=r"my_mil\.py: is there already"):
        new("method", tmp_path / "folder/my_mil.py")


@pytest.mark.parametrize("name", ["my_mil", "MyMIL", "_mil", "mil2", "my-mil", "x.y"])
def test_any_name_of_python_is_a_name(tmp_path, name):
    ast.parse(text_of_test(name))
    path = tmp_path / f"{name}.py"
    path.write_text(method_text(name))
    use_methods([path])
    try_method(name)
    assert class_name_of(name).isidentifier()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("snn", "method snn already"),
        ("a b", "can be no name"),
        ("..", "no name"),
        ("3x", "begins with a digit"),
        ("class", "is a word of Python's own"),
        ("../snn", "method snn already"),
        ("random", "a package"),
        ("numpy", "a package"),
    ],
)
def test_new_refuses_names(tmp_path, name, said):
    with pytest.raises(UserError, match=said):
        new("method", tmp_path / name)


def test_a_file_given_as_text_is_one_line(tmp_path):
    (tmp_path / "own.py").write_text(text())
    source = {"cohort": "C", "format": "matrix", "unit": "log", "path": "x.tsv"}
    cohort = {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [source]}
    values = {"cohort": cohort, "methods_from": "own.py", "methods": ["snn", "own"]}
    with pytest.raises(UserError) as caught:
        parse_config(values, folders=[tmp_path])
    (line,) = str(caught.value).splitlines()
    assert line.startswith("the configuration: methods_from: Input should be a valid list (given: 'own.py')")
