"""modelaudit on a weights file, by its own command: it looks for code in files."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

QUIET = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1"}


def main() -> None:
    """Scan the task's weights and print what it found and what it cost."""
    task = json.loads(sys.argv[1])
    program = Path(sys.executable).parent / "modelaudit"
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603  the environment's own program
        [str(program), "scan", task["weights"], "--format", "json"],
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode not in {0, 1}:  # 1: issues were found
        raise SystemExit(done.stderr[-2000:])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "passes": 0,
        "index": float(len(json.loads(done.stdout)["issues"])),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
