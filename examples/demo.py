"""``make demo``: start the demo IOC on free ports, play the tutorial against it, stop the IOC."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.harness.ioc_process import DemoIOC, clean_environ  # noqa: E402


def main() -> int:
    print("$ python3 -m caproto.ioc_examples.random_walk", flush=True)
    with DemoIOC("random_walk") as ioc:
        print(f"PVs: {ioc.pv_names}\n\n$ python3 examples/tutorial.py", flush=True)
        tutorial = [sys.executable, str(ROOT / "examples" / "tutorial.py")]
        code = subprocess.run(tutorial, env=clean_environ(**ioc.environ), check=False).returncode
        stopped = ioc.stop()
    if code == 0 and stopped != 0:
        print(f"The IOC ended with exit code {stopped}:\n{ioc.text}", file=sys.stderr)
    return code or abs(stopped or 0)


if __name__ == "__main__":
    sys.exit(main())
