"""Stock python-tuf: walk from a pinned root to targets and download them."""

import json
import sys
from pathlib import Path

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater


def main() -> None:
    """Print, for each target path, its bytes, null if there is none, or the error."""
    task = json.loads(sys.argv[1])
    folder = Path(task["folder"])
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    (folder / "targets").mkdir(exist_ok=True)
    updater = Updater(
        str(folder / "metadata"),
        f"{task['url']}/tuf/metadata/",
        str(folder / "targets"),
        f"{task['url']}/tuf/targets/",
        bootstrap=Path(task["root"]).read_bytes(),
    )
    print(json.dumps([_download(updater, path) for path in task["targets"]]))  # noqa: T201


def _download(updater: Updater, path: str) -> dict[str, object]:
    try:
        target = updater.get_targetinfo(path)
        if target is None:
            return {"bytes": None}
        file = Path(updater.download_target(target))
    except (DownloadError, RepositoryError) as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"bytes": file.read_bytes().hex()}


if __name__ == "__main__":
    main()
