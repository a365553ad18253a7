"""Stock huggingface_hub: download what the task names, say what came of each."""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Print, for each call, the digests of the files it got or its type of error."""
    task = json.loads(sys.argv[1])
    os.environ |= {
        "HF_ENDPOINT": task["url"],
        "HF_HOME": task["home"],
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if "token" in task:
        os.environ["HF_TOKEN"] = task["token"]
    import huggingface_hub  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  reads the variables when imported

    answers: list[dict[str, object]] = []
    for name, *arguments, revision in task["calls"]:
        try:
            got = getattr(huggingface_hub, name)(*arguments, revision=revision)
        except Exception as error:  # noqa: BLE001  which it is, is the question
            kinds = [kind.__name__ for kind in type(error).__mro__]
            answers.append({"error": kinds, "message": str(error)})
        else:
            answers.append({"files": _texts(Path(got))})
    print(json.dumps({"version": huggingface_hub.__version__, "answers": answers}))  # noqa: T201


def _texts(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {file.name: file.read_bytes().hex() for file in files}


if __name__ == "__main__":
    main()
