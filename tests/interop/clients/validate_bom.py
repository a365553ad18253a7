"""Stock cyclonedx-python-lib: hold a bill of materials against its schema."""

import json
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion  # type: ignore[import-not-found]
from cyclonedx.validation.json import (  # type: ignore[import-not-found]
    JsonStrictValidator,
)


def main() -> None:
    """Print what the validator holds against the file; null if nothing."""
    bill = Path(sys.argv[1]).read_text(encoding="utf-8")
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
    print(json.dumps({"error": None if error is None else str(error)[:500]}))  # noqa: T201


if __name__ == "__main__":
    main()
