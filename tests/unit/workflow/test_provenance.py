import ast
import itertools
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ssc.runtime.files import file_digest
from ssc.workflow import provenance
from ssc.workflow.provenance import (
    clear_caches,
    content_digest,
    counted_code,
    fingerprint,
    source_digest,
)
from ssc.workflow.settings import IRN, Classifier, IRNLabels, Superpixels

SOURCE = Path(provenance.__file__).parents[1]
STAGES = [f"ssc.{room}.{path.stem}" for room in ("stages", "training") for path in sorted((SOURCE / room).glob("*.py"))]
STAGES = [stage for stage in STAGES if not stage.endswith("__init__")]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files a test may edit."""
    root = tmp_path / "ssc"
    shutil.copytree(SOURCE, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_ROOT", root)
    clear_caches()
    yield root
    clear_caches()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Function that writes modules of a small package `ssc` and gives the digest of the first."""
    monkeypatch.setattr(provenance, "_ROOT", tmp_path / "ssc")

    def write(first: str, **others: str) -> str:
        for name, text in {"first": first, **others}.items():
            parts = ["__init__" if part == "init" else part for part in name.split("__")]
            path = tmp_path.joinpath("ssc", *parts).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            for folder in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / folder / "__init__.py").touch()
        clear_caches()
        return source_digest("ssc.first", ["chosen"])

    yield write
    clear_caches()


@pytest.fixture(scope="module")
def unedited():
    """Digests of all stages."""
    return {stage: source_digest(stage) for stage in STAGES}


def edit(root, file, old, new):
    path = root / file
    text = path.read_text()
    assert old in text, f"{file} lacks {old!r}"
    path.write_text(text.replace(old, new, 1))
    clear_caches()


def add(root, file, text):
    path = root / file
    path.write_text(f"{path.read_text()}\n\n{text}\n")
    clear_caches()


# What runs again on the package as it is, and what does not.

TELLING = {
    "errors": ("runtime/errors.py", '"The memory is exhausted;', '"There is no memory left;'),
    "training": ("training/classifier.py", '"""Training of the CAM', '"""The training of the CAM'),
    "checkpoint": ("training/checkpoint.py", "a checksum does not match", "its checksum differs"),
    "value error": ("models/backbones.py", 'f"{name} has output strides', 'f"{name} knows the output strides'),
    "log": ("training/run.py", "its result is restored from the cache.", "the result is the one of before."),
    "track": ("training/run.py", 'f"epoch {epoch + 1}/{epochs}"', 'f"pass {epoch + 1}"'),
    "download": ("runtime/download.py", "_TRIES = 4", "_TRIES = 5"),
    "settings": ("workflow/settings.py", 'Field(0.3, description="Activation above', 'Field(0.4, description="Above'),
    "annotation": ("losses.py", "def erode(mask: torch.Tensor, size: int)", "def erode(mask: object, size)"),
    "other backbone": ("models/backbones.py", "self.channels = (64, 128, 256, 512, 512)", "self.channels = (1, 2)"),
    "other method": ("affinity.py", "def random_walk(", "@torch.no_grad()\ndef random_walk("),
    "other loss": ("losses.py", 'ignore_index=IGNORE, reduction="sum"', "ignore_index=IGNORE"),
    "comment": ("losses.py", "# By key of the section", "# By the key of the section"),
}

MEANING = {
    "formula": ("losses.py", "torch.maximum(target, activation * mask)", "torch.maximum(target, mask)"),
    "term": ("losses.py", "total=step.present,", "total=None,"),
    "choice of the term": ("losses.py", 'Term("alignment", alignment_term)', 'Term("alignment", classification_term)'),
    "constant": ("constants.py", "EPSILON = 1e-5", "EPSILON = 1e-6"),
    "backbone": ("models/backbones.py", "reached = 2 if tiny", "reached = 3 if tiny"),
    "strides of a backbone": ("models/networks.py", '"resnet50": Network("ssc.models.backbones:ResNetBackbone", (8,',
                              '"resnet50": Network("ssc.models.backbones:ResNetBackbone", (4, 8,'),
    "shuffling": ("training/loader.py", ".permutation(len(self.rows))", ".permutation(len(self.rows))[::-1]"),
    "learning rate": ("training/run.py", "* (1 - step / total) ** power", "* (1 - step / total)"),
    "update": ("training/run.py", "optimizer.zero_grad(set_to_none=True)", "pass"),
    "precision": ("runtime/device.py", "bfloat16", "float16"),
    "processes": ("runtime/distributed.py", "def global_sum(", "@torch.no_grad()\ndef global_sum("),
    "default of an argument": ("losses.py", "erosion: int = 8,", "erosion: int = 7,"),
    "external function": ("losses.py", "from torch.nn import functional as F", "from torch import special as F"),
}  # fmt: skip


def test_what_changes_no_number_runs_nothing_again(package):
    before = source_digest("ssc.training.classifier"), counted_code("ssc.training.classifier", Classifier().words())
    for change in TELLING.values():
        edit(package, *change)
    assert counted_code("ssc.training.classifier", Classifier().words()) == before[1]  # tells more where it fails
    assert source_digest("ssc.training.classifier") == before[0]


@pytest.mark.parametrize("change", MEANING)
def test_what_changes_a_number_runs_again(package, unedited, change):
    edit(package, *MEANING[change])
    assert source_digest("ssc.training.classifier") != unedited["ssc.training.classifier"]


def test_a_text_of_a_value_error_in_the_losses_does_not_count(package):
    check = "    if size <= 1:\n        return mask\n"
    edit(package, "losses.py", check, 'if size < 0:\n        raise ValueError(f"{size}")\n'.join(["    ", check]))
    before = source_digest("ssc.training.classifier")
    edit(
        package,
        "losses.py",
        'ValueError(f"{size}")',
        'ValueError(f"{size} is negative, {region_means}", STD) from None',
    )
    assert source_digest("ssc.training.classifier") == before
    edit(package, "losses.py", "raise ValueError", "raise TypeError")
    assert source_digest("ssc.training.classifier") != before


def test_an_added_network_and_an_added_term_run_nothing_again(package, unedited):
    add(package, "models/backbones.py", "def wide(name, *, output_stride, dilate):\n    return Backbone()")
    edit(package, "models/networks.py", "] = {", '] = {\n    "wide": Network("ssc.models.backbones:wide", (8, 16)),')
    add(package, "losses.py", "def size_term(step, settings):\n    return step.features.mean() * EPSILON")
    edit(package, "losses.py", "str, Term] = {", 'str, Term] = {\n    "size": Term("size", size_term),')
    assert {stage: source_digest(stage) for stage in STAGES} == unedited
    for words in (["wide"], ["size"]):
        assert source_digest("ssc.training.classifier", Classifier(), words) != unedited["ssc.training.classifier"]


def test_a_term_that_is_off_does_not_count(package):
    off, on = Classifier(asm={"enabled": False}), Classifier()
    before = source_digest("ssc.training.classifier", off), source_digest("ssc.training.classifier", on)
    edit(package, *MEANING["formula"])
    edit(package, *MEANING["term"])
    assert source_digest("ssc.training.classifier", off) == before[0]
    assert source_digest("ssc.training.classifier", on) != before[1]


def test_without_sections_the_default_settings_choose():
    backbones = ["tiny", "resnet18", "resnet50", "resnet101", "vgg16", "vgg19"]
    default = source_digest("ssc.training.classifier")
    assert default == source_digest("ssc.training.classifier", {"resnet50", "resnet101", "cdr", "asm"})
    assert default != source_digest("ssc.training.classifier", backbones, ["cdr", "asm"])
    assert default == source_digest("ssc.training.classifier", Classifier(), ["resnet101"])


def test_what_auto_stands_for_counts_where_it_is_used(package, unedited):
    edit(package, "stages/cam_threshold.py", '"threshold": 1.25', '"threshold": 1.2')
    for stage in ("irn_labels", "pseudo_labels", "seeds"):
        assert source_digest(f"ssc.stages.{stage}") != unedited[f"ssc.stages.{stage}"]
    assert source_digest("ssc.stages.cams") == unedited["ssc.stages.cams"]


def test_a_stage_depends_on_its_own_method_alone(package):
    def digests():
        return {name: source_digest(f"ssc.stages.{name}") for name in ("irn_labels", "superpixels")}

    before = digests()
    for path in [package / "affinity.py", package / "models" / "irn.py", *(package / "training").glob("*.py")]:
        path.write_text(path.read_text().replace("return ", "return None or "))
    clear_caches()
    assert digests() == before
    edit(package, "crf/permutohedral.py", "return ", "return None or ")
    assert digests()["irn_labels"] != before["irn_labels"]
    assert digests()["superpixels"] == before["superpixels"]


def test_comments_docstrings_and_layout_do_not_count(package, unedited):
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = "another docstring"
        path.write_text("# a remark\n" + ast.unparse(tree))
    clear_caches()
    assert {stage: source_digest(stage) for stage in STAGES} == unedited


@pytest.mark.parametrize("seed", range(2))
def test_order_of_functions_classes_and_imports_does_not_count(package, unedited, seed):
    rng = random.Random(seed)
    moved = 0
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for kinds in ((ast.FunctionDef, ast.ClassDef), (ast.Import, ast.ImportFrom)):
            places = [place for place, node in enumerate(tree.body) if isinstance(node, kinds)]
            shuffled = rng.sample(places, len(places))
            body = list(tree.body)
            for place, source in zip(places, shuffled, strict=True):
                tree.body[place] = body[source]
            moved += places != shuffled
        path.write_text(ast.unparse(tree))
    clear_caches()
    assert moved > 50
    assert {stage: source_digest(stage) for stage in STAGES} == unedited


def test_digests_of_stages_differ(unedited):
    assert len(set(unedited.values())) == len(STAGES)


def test_the_package_imports_only_in_ways_that_are_followed():
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                assert node.names[0].name != "*", f"{path} imports a star"


def test_no_analysed_module_and_no_torch_is_imported():
    code = "import sys; from ssc.workflow.provenance import source_digest; source_digest('ssc.training.irn'); " \
           "sys.exit('torch' in sys.modules or 'ssc.training.irn' in sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], cwd=SOURCE.parent).returncode == 0


def _executed(function):
    """Definitions at the top level of modules of `ssc` whose code runs in a call, as the interpreter tells."""
    found = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(f"{SOURCE}/"):
            path = Path(frame.f_code.co_filename).relative_to(SOURCE.parent)
            module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            found.add(f"{module}:{frame.f_code.co_qualname.split('.')[0]}")

    function()  # imports and compiled functions are loaded, which takes long under a profile
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


def _superpixels(rng):
    from ssc.superpixels import superpixels

    superpixels(rng.integers(0, 256, (24, 32, 3), np.uint8), max_regions=8)


def _irn_labels(rng):
    from ssc.seeds import confident_labels

    confident_labels(
        rng.integers(0, 256, (16, 20, 3), np.uint8), np.array([1, 3]), torch.rand(2, 16, 20), confidence=0.7,
        foreground_threshold=0.3, background_threshold=0.1, crf={"iterations": 2},
    )  # fmt: skip


def _classifier(rng):
    from ssc.losses import ClassifierStep, classifier_losses
    from ssc.models.classifier import CAMClassifier

    settings = Classifier(backbone="resnet18", cdr={"enabled": False}, asm={"start_epoch": 0})
    model = CAMClassifier(3, backbone="resnet18", drs=True)
    image, labels, regions = torch.rand(2, 3, 64, 64), torch.ones(2, 3), torch.zeros(2, 64, 64, dtype=torch.int64)
    classifier_losses(ClassifierStep(image, labels, regions, *model.forward_features(image)), settings, epoch=0)


@pytest.mark.parametrize(
    ("module", "settings", "call", "least"),
    [
        ("ssc.stages.superpixels", Superpixels(), _superpixels, 15),
        ("ssc.stages.irn_labels", IRNLabels(), _irn_labels, 12),
        ("ssc.training.classifier", Classifier(backbone="resnet18"), _classifier, 15),
    ],
)
def test_all_that_runs_counts(module, settings, call, least):
    executed = {name for name in _executed(lambda: call(np.random.default_rng(0))) if "<" not in name}
    executed = {name for name in executed if not name.startswith("ssc.workflow.")}
    assert len(executed) >= least
    assert executed <= set(counted_code(module, settings.words()))


# The rules, one by one, on packages of a few lines.

REACHING = {
    "name": ("from ssc.b import f\ndef g():\n    return f()", "def f(): return {}"),
    "alias": ("from ssc.b import f as h\ndef g():\n    return h()", "def f(): return {}"),
    "module": ("from ssc import b\ndef g():\n    return b.f()", "def f(): return {}"),
    "module alias": ("import ssc.b as c\ndef g():\n    return c.f()", "def f(): return {}"),
    "dotted": ("import ssc.b\ndef g():\n    return ssc.b.f()", "def f(): return {}"),
    "inner import": ("def g():\n    from ssc.b import f\n    return f()", "def f(): return {}"),
    "text": ("PART = 'ssc.b:f'", "def f(): return {}"),
    "module as an object": ("from ssc import b\ndef g():\n    return vars(b)", "def f(): return {}"),
    "attribute of a constant": ("from ssc import b\ndef g():\n    return b.C.x", "C = make({})"),
    "class of an argument": ("from ssc.b import C\ndef g(c: list[C] | None): pass", "class C:\n    x = {}"),
    "base class": ("from ssc.b import C\nclass D(C): pass", "class C:\n    x = {}"),
    "decorator": ("from ssc import b\n@b.f\ndef g(): pass", "def f(g): return {}"),
    "default": ("from ssc.b import C\ndef g(c=C): pass", "C = {}"),
    "method of a name": ("from ssc.b import C\nX = C.get(1)", "C = {}"),
    "further name": ("from ssc.b import f\nX = f()", "def f(): return h()\ndef h(): return {}"),
    "tuple": ("from ssc.b import C\nX = C", "C, D = 1, {}"),
    "augmented": ("from ssc.b import C\nX = C", "C = 1\nC += {}"),
    "annotated": ("from ssc.b import C\nX = C", "C: int = {}"),
    "below an if": ("from ssc.b import C\nX = C", "if True:\n    C = {}"),
    "below a try": ("from ssc.b import f\nX = f()", "try:\n    def f(): return {}\nexcept E: pass"),
    "statement": ("from ssc.b import C\nX = C", "C = []\nC.append({})"),
    "foreign attribute": ("from ssc.b import C\nX = C", "import torch\nC = []\ntorch.x = {}"),
    "async": ("from ssc.b import f\nX = f()", "async def f(): return {}"),
    "default in a signature": ("from ssc.b import f\nX = f()", "def f(a: int = {}): return a"),
    "chosen entry": ("from ssc.b import T\nX = T", "T: Registry[str, int] = {{'chosen': {}}}"),
    "value of a chosen entry": ("from ssc.b import T\nX = T", "C = {}\nT: Registry[str, int] = {{'chosen': C}}"),
    "text in a chosen entry": ("from ssc.b import T\nX = T", "C = {}\nT: Registry[str, int] = {{'chosen': 'ssc.b:C'}}"),
    "plain dictionary": ("from ssc.b import T\nX = T", "T: dict[str, int] = {{'other': {}}}"),
    "text given to what counts": ("from ssc.b import f\nX = f('a')", "def f(a): return g('text {}')"),
    "exception": ("from ssc.b import f\nX = f()", "class E1(A): pass\nclass E2(B): pass\ndef f(): raise E{}('x')"),
}  # fmt: skip

NOT_REACHING = {
    "not used": ("from ssc.b import f\nX = 1", "def f(): return {}"),
    "beside": ("from ssc.b import f\nX = f", "def f(): return 1\ndef h(): return {}"),
    "main": ("from ssc.b import C\nX = C", "C = 1\nif __name__ == '__main__':\n    print({})"),
    "docstring of a constant": ("from ssc.b import C\nX = C", "C = 1\n'''Text {}.'''"),
    "result annotation": ("from ssc.b import f\nX = f()", "def f() -> Literal[{}]: return 1"),
    "inner annotation": ("from ssc.b import f\nX = f()", "def f():\n    a: Literal[{}] = 1\n    return a"),
    "exception text": ("from ssc.b import f\nX = f()", "def f(): raise E('text {}')"),
    "exception cause": ("from ssc.b import f\nX = f()", "def f(): raise E from cause({})"),
    "other entry": ("from ssc.b import T\nX = T", "C = {}\nT: Registry[str, int] = {{'other': C}}"),
    "number of entries": ("from ssc.b import T\nX = T", "T: Registry[int, int] = dict.fromkeys([1])\nU = {}"),
    "log": ("from ssc.b import f\nX = f()",
            "from ssc.runtime.progress import log\ndef f():\n    log.warning('%d', {})\n    return 1"),
    "log of a module": ("from ssc.b import f\nX = f()",
                        "from ssc.runtime import progress\ndef f():\n    progress.log.info('{}')\n    return 1"),
    "title": ("from ssc.b import f\nX = f()",
              "from ssc.runtime.progress import track\ndef f(): return list(track(x, f'{{x}} {}', what='{}'))"),
    "returned error": ("from ssc.b import f\nX = f()",
                       "from ssc.runtime import errors\ndef f(): return errors.InputError('text {}')"),
}  # fmt: skip


@pytest.mark.parametrize("case", REACHING)
def test_counts(write, case):
    first, other = REACHING[case]
    assert write(first, b=other.format(1)) != write(first, b=other.format(2))


@pytest.mark.parametrize("case", NOT_REACHING)
def test_does_not_count(write, case):
    first, other = NOT_REACHING[case]
    runtime = {"runtime__progress": "log = 1\ndef track(): pass", "runtime__errors": "class InputError: pass"}
    assert write(first, b=other.format(1, 1), **runtime) == write(first, b=other.format(2, 2), **runtime)


@pytest.mark.parametrize(
    ("module", "counts"),
    [("runtime.device", True), ("runtime.distributed", True), ("runtime.devices", False), ("runtime.files", False),
     ("workflow.cache", False), ("cli", False), ("clip", True), ("data.runtime", True)],
)  # fmt: skip
def test_which_modules_count(write, module, counts):
    first, name = f"from ssc.{module} import f\nX = f(1)", module.replace(".", "__")
    assert (write(first, **{name: "def f(a): return 1"}) != write(first, **{name: "def f(a): return 2"})) == counts


def test_what_an_imported_name_means_counts_and_not_how_it_is_called(write):
    b, c = "def f(): return 1\ndef g(): return 2", "from ssc.b import f"
    before = write("from ssc.b import f, g\nX = f() - g()", b=b, c=c)
    assert before == write("from ssc.b import g as two, f as one\nX = one() - two()")
    assert before == write("import ssc.b\nfrom ssc.c import f as one\nX = one() - ssc.b.g()")
    assert before != write("from ssc.b import f as g, g as f\nX = f() - g()")


def test_names_that_a_package_imports_late(write):
    late = "_MODULES = {'N': 'inner'}\ndef __getattr__(name): pass"
    first = "from ssc.b import N\nX = N()"
    before = write(first, b__init=late, b__inner="class N:\n    x = 1\nY = 1")
    assert before == write(first, b__inner="class N:\n    x = 1\nY = 2")
    assert before != write(first, b__inner="class N:\n    x = 2\nY = 2")


def test_entries_of_a_table_count_in_their_order(write):
    first = "T: Registry[str, int] = {{{}}}"
    orders = {write(first.format(", ".join(p))) for p in itertools.permutations(["'chosen': 1", "**A", "B: 2"])}
    assert len(orders) == 6


def test_a_module_that_does_not_exist():
    with pytest.raises(FileNotFoundError):
        source_digest("__main__")


def test_a_fingerprint_holds_code_settings_values_and_the_content_of_files(package, tmp_path):
    for name, content in {"a": b"a", "same": b"a", "b": b"b"}.items():
        (tmp_path / name).write_bytes(content)
    module, values, files = "ssc.training.irn", {"x": 1, "y": None}, [tmp_path / "a", None]
    one = fingerprint(module, IRN(), values, files=files)
    assert one == fingerprint(module, IRN(), {"y": None, "x": 1}, files=[tmp_path / "same", None])
    assert one == fingerprint(module, IRN(), values, files=files, words=["resnet50"])
    others = {
        fingerprint("ssc.training.segmentation", IRN(), values, files=files),
        fingerprint(module, IRN(lr=0.2), values, files=files),
        fingerprint(module, None, values, files=files),
        fingerprint(module, IRN(), {"x": 2, "y": None}, files=files),
        fingerprint(module, IRN(), values, files=[tmp_path / "b", None]),
        fingerprint(module, IRN(), values, files=files[::-1]),
        fingerprint(module, IRN(), values),
        fingerprint(module, IRN(), values, files=files, words=["vgg16"]),
    }
    edit(package, "affinity.py", "return ", "return None or ")
    others.add(fingerprint(module, IRN(), values, files=files))
    assert len(others | {one}) == 10
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in others)


def test_a_part_that_is_off_does_not_change_a_fingerprint():
    off = Classifier(asm={"enabled": False})
    assert fingerprint("ssc.training.classifier", off) == fingerprint(
        "ssc.training.classifier", Classifier(asm={"enabled": False, "threshold": 0.9})
    )
    assert fingerprint("ssc.training.classifier", off) != fingerprint("ssc.training.classifier", Classifier())


def weights(path, *, tensor=b"1234", options=1, facts=None, metadata=True):
    """A file in the form of safetensors with one tensor and a header of `ssc`."""
    own = {"parts": {"net": {"options": options}}, "facts": {"seed": 3} if facts is None else facts}
    header = {"x": {"dtype": "U8", "shape": [len(tensor)], "data_offsets": [0, len(tensor)]}}
    if metadata:
        header["__metadata__"] = {"ssc": json.dumps(own)}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensor)
    return path


def test_of_weights_the_names_of_classes_do_not_count(tmp_path):
    def digest(name="x.safetensors", **content):
        return content_digest(weights(tmp_path / name, **content))

    one = digest(facts={"classes": ["a", "b"], "seed": 3})
    assert one == digest(facts={"seed": 3, "classes": ["b", "longer name"]})
    others = [
        digest(facts={"classes": ["a", "b"], "seed": 4}),
        digest(facts={"classes": ["a", "b"], "seed": 3}, tensor=b"1235"),
        digest(facts={"classes": ["a", "b"], "seed": 3}, tensor=b"12345"),
        digest(facts={"classes": ["a", "b"], "seed": 3}, options=2),
        digest(),
        digest(name="x.pth", facts={"classes": ["a", "b"], "seed": 3}),
        digest(name="x.pth", facts={"classes": ["b", "a"], "seed": 3}),
    ]
    assert len({one, *others}) == 8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        (2**63).to_bytes(8, "little") + b"{}",
        (5).to_bytes(8, "little") + b"\xff\xfe{}{",
        (2).to_bytes(8, "little") + b"{}" + b"data",
        (2).to_bytes(8, "little") + b"[]" + b"data",
        (19).to_bytes(8, "little") + b'{"__metadata__": 1}',
        (33).to_bytes(8, "little") + b'{"__metadata__": {"ssc": "torn"}}',
        (30).to_bytes(8, "little") + b'{"__metadata__": {"ssc": "3"}}',
        (40).to_bytes(8, "little") + b'{"__metadata__": {"ssc": "{\\"facts\\": 3}"}}',
    ],
)
def test_other_weights_and_damaged_ones_count_as_they_are(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    assert content_digest(tmp_path / "x.safetensors") == file_digest(tmp_path / "x.safetensors")


def test_a_fingerprint_takes_the_content_of_weights(tmp_path):
    def own(classes, tensor=b"1234"):
        path = weights(tmp_path / "x.safetensors", tensor=tensor, facts={"classes": classes})
        return fingerprint("ssc.training.irn", files=[path])

    assert own(["a"]) == own(["b"]) != own(["a"], tensor=b"1230")
