"""Stock huggingface_hub: download one file of a revision."""

import json
import os
import sys


def main() -> None:
    """Print where the file lies, or the type of error."""
    task = json.loads(sys.argv[1])
    os.environ |= {
        "HF_ENDPOINT": task["url"],
        "HF_HOME": task["folder"],
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    import huggingface_hub  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  reads the variables when imported

    try:
        file = huggingface_hub.hf_hub_download(
            task["repository"], task["file_name"], revision=task["revision"]
        )
    except Exception as error:  # noqa: BLE001  which it is, is the question
        said = {"error": type(error).__name__, "message": str(error)}
    else:
        said = {"file": str(file)}
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    main()
