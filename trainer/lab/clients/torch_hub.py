"""Stock torch.hub: load weights from a URL whose file name holds their digest."""

import json
import sys

import torch


def main() -> None:
    """Print the type of error, or that there was none."""
    task = json.loads(sys.argv[1])
    try:
        torch.hub.load_state_dict_from_url(
            task["url"],
            model_dir=task["folder"],
            file_name=task["file_name"],
            check_hash=True,
            weights_only=True,
            progress=False,
        )
    except Exception as error:  # noqa: BLE001  which it is, is the question
        said: dict[str, str] = {"error": type(error).__name__, "message": str(error)}
    else:
        said = {"file": f"{task['folder']}/{task['file_name']}"}
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    main()
