"""huggingface_hub's side of ``download``: it does not verify what it gets."""

import json
import os
import sys
import time


def main() -> None:
    """Download the file that the task names and print the seconds."""
    task = json.loads(sys.argv[1])
    os.environ |= {
        "HF_ENDPOINT": task["url"],
        "HF_HOME": task["home"],
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    import huggingface_hub  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  reads the variables when imported

    started = time.perf_counter()
    huggingface_hub.hf_hub_download("alice/big", task["name"], cache_dir=task["home"])
    said = {"seconds": time.perf_counter() - started}
    print(json.dumps({**said, "version": huggingface_hub.__version__}))


if __name__ == "__main__":
    main()
