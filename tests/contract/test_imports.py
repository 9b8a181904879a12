"""What importing costs, and that nothing optional is needed to import or to ask for help."""

import json
import pkgutil
import statistics
import subprocess
import sys
import time

import specvit

#: Everything an extra brings, and what is imported only where it is used.
OPTIONAL = (
    *("dask", "distributed", "pysme", "pandas", "tables", "lightgbm", "jinja2", "matplotlib", "sklearn"),
    *("numba", "astropy", "plotly", "pyarrow", "hypothesis", "pytest", "psutil", "tqdm"),
)
#: A module that is made of an optional package, and imported only where that is there.
MADE_OF = dict.fromkeys(
    (
        "specvit.amortised.compiled",
        "specvit.numerics.compiling",
        "specvit.simulate.compiled",
        "specvit.stellar.compiled",
    ),
    "numba",
)
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run(script, timeout=240):
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=timeout, check=False
    )


def seconds(script):
    started = time.perf_counter()
    assert run(script).returncode == 0
    return time.perf_counter() - started


def test_importing_specvit_is_quick_and_does_not_bring_torch():
    # Alternating with a bare start, so that a busy machine slows both alike.
    pairs = [(seconds("import specvit"), seconds("pass")) for _ in range(5)]
    assert statistics.median(full - bare for full, bare in pairs) < 0.3
    done = run("import sys, specvit; print('torch' in sys.modules, 'numpy' in sys.modules)")
    assert done.stdout.split() == ["False", "False"]


def test_help_needs_neither_torch_nor_anything_optional():
    script = f"""{BLOCKER}
import contextlib, io, json
from specvit.cli import console, main
codes = {{}}
def ask(*arguments):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = main([*arguments, "--help"])
    codes[" ".join(arguments)] = [code, shown.getvalue()[-300:] if code else ""]
ask()
for name, verb in console.VERBS.items():
    ask(name)
    command = console._command(name, console._load(verb))
    for inner in getattr(command, "commands", {{}}):
        ask(name, inner)
print(json.dumps([codes, "torch" in sys.modules]))
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    codes, torch_loaded = json.loads(done.stdout)
    assert {request: answer for request, answer in codes.items() if answer[0] != 0} == {}
    assert len(codes) > 5
    assert not torch_loaded


def test_help_is_quick():
    assert min(seconds("from specvit.cli import main; main(['--help'])") for _ in range(3)) < 1.0


def test_every_module_imports_without_anything_optional():
    names = [module.name for module in pkgutil.walk_packages(specvit.__path__, "specvit.")]
    names = [name for name in names if not name.endswith("__main__")]
    script = f"""{BLOCKER}
import importlib
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, error)
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    refused = [line.split()[0] for line in done.stdout.splitlines()]
    assert refused == list(MADE_OF), done.stdout


def test_the_blocker_blocks():
    assert "blocked" in run(f"{BLOCKER}\nimport pandas").stderr
