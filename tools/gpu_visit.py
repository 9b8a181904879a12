"""Everything an accelerator should show, in one visit of a few minutes; docs/gpu.md says what and why.

    python tools/gpu_visit.py --minutes 9.5 --device cuda --output DIR
    python tools/gpu_visit.py --minutes 3 --device cpu --output DIR     # the rehearsal: tiny sizes, no figure counts

Needs Python, PyTorch, NumPy, SciPy, h5py and safetensors, and this checkout. What a stage finds is in DIR the moment it
is found. The same command again keeps the stages that are done and does the others. `tools/gpu_report.py DIR` makes
entries of benchmarks/RESULTS.md and bundles of what came back.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

BEGAN = time.monotonic()
# Before NumPy is imported: its threads would be in the way of the stages' processes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, required=True, help="all stages together, the start included"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu is the rehearsal")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes: expected a positive number, got {options.minutes:g}")

    from gpu.checking import check
    from gpu.inferring import inference
    from gpu.plan import deadlines
    from gpu.results import DONE, Results
    from gpu.stepping import step
    from gpu.supervisor import run_stage
    from gpu.table import table
    from gpu.throughput import throughput
    from gpu.training import train
    from gpu.visit import Visit
    from specvit.errors import SpecvitError

    work = {"check": check, "throughput": throughput, "step": step, "train": train, "inference": inference}
    try:
        results = Results.begin(options.output, options.device)
        visit = Visit.to(options.device)
        # Shares of what the start has left: a slow one would else be at the cost of the first stage alone.
        ready = time.monotonic()
        left = options.minutes - (ready - BEGAN) / 60
        for name, deadline in deadlines(ready, left).items():
            if results.stage(name).get("state") == DONE:
                print(f"{name}: done before", flush=True)
                continue
            state = run_stage(name, partial(work[name], visit), options.output, options.device, deadline)
            print(f"{name}: {state} after {time.monotonic() - BEGAN:.0f} s in all", flush=True)
            results = Results.read(options.output)
    except SpecvitError as error:
        print(f"gpu_visit: {error}", file=sys.stderr)
        return 1
    print(table(results), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
