"""Stock torch.hub: load weights from a URL whose file name holds their digest."""

import json
import sys

import torch


def main() -> None:
    """Print the tensors, or the type of error."""
    (url,) = sys.argv[1:]
    try:
        tensors = torch.hub.load_state_dict_from_url(
            url, check_hash=True, weights_only=True, progress=False
        )
    except Exception as error:  # noqa: BLE001  which it is, is the question
        said: dict[str, object] = {"error": type(error).__name__, "message": str(error)}
    else:
        said = {"tensors": {name: t.tolist() for name, t in tensors.items()}}
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    main()
