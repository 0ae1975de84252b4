"""Methods of other people: a file, an entry point, and every way in which they can be broken."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import paper_repro
from paper_repro import methods
from paper_repro.conformance import preflight
from paper_repro.errors import UserError
from paper_repro.methods import plugins

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_method.py"
GOOD = """
from paper_repro.methods.gmp import GMP

class Mine(GMP):
    def __init__(self, sparsity_pct):
        super().__init__(sparsity_pct)
"""


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "PLUGINS", {})


def plugin_file(folder: Path, code: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(code, encoding="utf-8")
    return str(path)


def load(path: str) -> type[methods.Method]:
    return plugins.load(plugins.find(path))


def test_a_file_becomes_a_method_of_its_name(tmp_path: Path) -> None:
    plugin = plugins.find(plugin_file(tmp_path, GOOD))
    assert plugin.name == "mine" and len(plugin.sha256) == 64 and "mine" not in methods.PLUGINS
    cls = plugins.load(plugin)
    assert issubclass(cls, paper_repro.Method)
    assert isinstance(methods.get("mine", sparsity_pct=50.0), cls)
    with pytest.raises(UserError, match="Did you mean 'sparsity_pct'"):
        methods.get("mine", sparsity=50.0)


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plugin_file(tmp_path, GOOD)
    assert plugins.find("~/mine.py").files == (tmp_path / "mine.py",)


def test_finding_runs_no_code(tmp_path: Path) -> None:
    plugins.find(plugin_file(tmp_path, "raise SystemExit('run')"))


def test_an_edited_file_has_another_sha256(tmp_path: Path) -> None:
    before = plugins.find(plugin_file(tmp_path, GOOD)).sha256
    assert plugins.find(plugin_file(tmp_path, GOOD)).sha256 == before
    assert plugins.find(plugin_file(tmp_path, GOOD + "# changed\n")).sha256 != before


def test_a_run_refuses_code_that_is_not_its_own(tmp_path: Path) -> None:
    plugin = plugins.find(plugin_file(tmp_path, GOOD))
    with pytest.raises(UserError, match="is not loaded"):
        plugins.require("mine", plugin.sha256)
    plugins.load(plugin)
    assert plugins.require("mine", plugin.sha256) == plugin
    with pytest.raises(UserError, match="was changed since this run was planned"):
        plugins.require("mine", "0" * 64)
    assert plugins.require("gmp", "") is None


BROKEN = [
    ("", "defines no method: it needs one class that inherits from paper_repro.Method"),
    ("class Mine(:\n    pass\n", r"mine.py, line 1: SyntaxError: invalid syntax; mend the plug-in"),
    ("x = 1\nimport nowhere_to_be_found\n", r"mine.py, line 2: No module named 'nowhere_to_be_found'; install it"),
    ("from torch import nothing_like_it\n", r"mine.py, line 1 raised ImportError: cannot import name"),
    ("\n\nx = 1 / 0\n", r"mine.py, line 3 raised ZeroDivisionError: division by zero, while it was to import"),
    ("raise SystemExit(3)\n", r"mine.py, line 1 raised SystemExit: 3"),
    (GOOD + "class Second(GMP):\n    pass\n", r"defines 2 methods: Mine \(line 4\), Second \(line 7\); keep one"),
    ("a\0b", "mine.py"),
]


@pytest.mark.parametrize(("code", "message"), BROKEN)
def test_a_broken_file_is_one_sentence_with_its_place(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(plugin_file(tmp_path, code))
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_helper_with_an_underscore_is_no_second_method(tmp_path: Path) -> None:
    assert load(plugin_file(tmp_path, GOOD + "class _Base(GMP):\n    pass\n")).__name__ == "Mine"


def test_missing_files_and_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.py does not exist; METHOD is a Python file"):
        plugins.find(str(tmp_path / "nowhere.py"))
    with pytest.raises(UserError, match="cannot be read"):
        plugins.find(f"{tmp_path}/")
    with pytest.raises(UserError, match="Did you mean 'gmp'"):
        plugins.find("gpm")


@pytest.mark.parametrize("name", ["rigl.py", "STR.py"])
def test_a_file_with_a_registered_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"a registered method is called .* already; give the file another name"):
        plugins.find(plugin_file(tmp_path, GOOD, name))


def test_a_registered_name_is_the_registered_method() -> None:
    plugin = plugins.find("gmp")
    assert plugin == plugins.Plugin("gmp", "gmp") and plugins.load(plugin).__name__ == "GMP"


@pytest.mark.parametrize("signature", ["self", "self, density"])
def test_a_constructor_without_sparsity(tmp_path: Path, signature: str) -> None:
    code = f"import paper_repro\n\nclass Mine(paper_repro.Method):\n    def __init__({signature}):\n        pass\n"
    plugin = plugins.find(plugin_file(tmp_path, code))
    with pytest.raises(UserError, match=r"mine.py, line 4: the constructor of Mine takes no sparsity_pct.*add"):
        plugins.sparsity_argument(plugin, plugins.load(plugin))


def test_which_argument_asks_for_a_sparsity() -> None:
    for name, argument in (("gmp", "sparsity_pct"), ("str", "target_sparsity_pct")):
        plugin = plugins.find(name)
        assert plugins.sparsity_argument(plugin, plugins.load(plugin)) == argument


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of Python with two packages: one works, one does not; and one that takes the name of STR."""
    site = tmp_path / "site"
    for name, points, code in (
        ("good", "good-one = good.method:Mine", GOOD),
        ("broken", "broken-one = broken.method:Mine", "import nowhere_to_be_found"),
        ("taken", "str = taken.method:Mine", GOOD),
        ("wrong", "wrong-one = wrong.method:Missing", GOOD),
    ):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("", encoding="utf-8")
        (site / name / "method.py").write_text(code, encoding="utf-8")
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{points}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield site
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("good", "broken", "taken", "wrong"):
            del sys.modules[name]


def test_an_installed_method_is_found_beside_broken_ones(installed: Path) -> None:
    assert {"good-one", "broken-one", "wrong-one"} <= set(methods.entry_points())
    plugin = plugins.find("good-one")
    assert "good" not in sys.modules  # nothing of it was run to find it
    assert plugins.load(plugin).__name__ == "Mine" and len(plugin.files) == 2
    with pytest.raises(UserError, match=r"method.py, line 1 raised ModuleNotFoundError"):
        load("broken-one")
    with pytest.raises(UserError, match="names nothing that is there"):
        load("wrong-one")
    (installed / "good" / "helper.py").write_text("x = 1\n", encoding="utf-8")
    assert plugins.find("good-one").sha256 != plugin.sha256  # any file of the package counts


def test_an_installed_method_cannot_take_a_registered_name(installed: Path) -> None:
    assert "str" not in methods.entry_points() and plugins.load(plugins.find("str")).__name__ == "STR"


@pytest.mark.parametrize(
    ("body", "claim"),
    [
        ("def sparsity(self): return 0.97", 97.0),
        ("def sparsity(self, model): return 97", 97.0),
        ("def sparsity(self): return 1 / 0", "failed with ZeroDivisionError: division by zero"),
        ("sparsity = 0.9", None),  # a number that it was given, perhaps
        ("pass", None),
    ],
)
def test_what_a_method_claims(tmp_path: Path, body: str, claim: object) -> None:
    method = load(plugin_file(tmp_path, f"import paper_repro\nclass Mine(paper_repro.Method):\n    {body}\n"))()
    assert plugins.claimed_sparsity_pct(method, None) == claim


def test_a_plugin_that_ends_its_process(tmp_path: Path) -> None:
    code = GOOD + "        import os, signal\n        os.kill(os.getpid(), signal.SIGSEGV)\n"
    with pytest.raises(UserError, match=r"ended its process \(SIGSEGV\) while it was to load"):
        preflight.findings(plugins.find(plugin_file(tmp_path, code)), 90.0, {})


def test_what_a_plugin_prints_hides_nothing(tmp_path: Path) -> None:
    code = (
        "print('.', end='', flush=True)\n"
        + GOOD
        + "        print('{\"event\": 1}', end='', flush=True)\n        import os\n        os.write(1, b'\\xff')\n"
        + "        raise ValueError('mine')\n"
    )
    with pytest.raises(UserError, match=r"\(in __init__\) raised ValueError: mine"):
        preflight.findings(plugins.find(plugin_file(tmp_path, code)), 90.0, {})


def test_a_plugin_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PATIENCE_S", 0.5)
    with pytest.raises(UserError, match="hangs: no word in 0 s, while it was to load"):
        preflight.findings(plugins.find(plugin_file(tmp_path, "while True: pass")), 90.0, {})
