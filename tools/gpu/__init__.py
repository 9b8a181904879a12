"""One visit to a GPU, in stages (`tools/gpu_visit.py`), and what is made of it (`tools/gpu_report.py`); docs/gpu.md."""

import sys
from pathlib import Path

from gpu.pydantic_stand_in import install_if_missing

ROOT = Path(__file__).resolve().parents[2]

# The visit runs in a bare checkout: specvit need not be installed, and the networks compared with are the benchmarks'.
for place in (ROOT / "src", ROOT / "benchmarks"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

# Before anything of specvit is read.
install_if_missing()
