"""The files of one release or draft, and their digests."""

from typing import Annotated

from pydantic import Field, field_validator

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError
from model_zoo.names import check_name

MAX_FILES = 256
MAX_FILE_BYTES = 1 << 40
"""1 TiB: past any checkpoint, and far inside what a 64-bit sum can hold."""

WEIGHTS_SUFFIX = ".safetensors"
GRAPH_SUFFIX = ".onnx"
"""A graph with its weights inside, for other programs."""
CHECKPOINT_PREFIX = "checkpoint-"
"""What a build leaves of its way, so that a segment of it can be trained again."""


class FileEntry(Document):
    """One file: its name (one path segment), length and SHA-256."""

    name: str
    size_bytes: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("name")
    @classmethod
    def _is_one_path_segment(cls, name: str) -> str:
        try:
            return check_name(name, what="file")
        except InvalidSpecError as error:
            raise ValueError(str(error)) from error


class Manifest(Document):
    """Every file of a release, sorted by name; two manifests of one tree are equal."""

    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, max_length=MAX_FILES)]

    @field_validator("files")
    @classmethod
    def _sorts_and_refuses_a_repeated_name(
        cls, files: tuple[FileEntry, ...]
    ) -> tuple[FileEntry, ...]:
        names = [file.name for file in files]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            msg = f"listed twice: {', '.join(repeated)}"
            raise ValueError(msg)
        return tuple(sorted(files, key=lambda file: file.name))

    def entry(self, name: str) -> FileEntry | None:
        """Return the file called ``name``, or None."""
        return next((file for file in self.files if file.name == name), None)

    def tensors(self) -> tuple[FileEntry, ...]:
        """Return every file that somebody could learn from: weights, checkpoints."""
        suffixes = (WEIGHTS_SUFFIX, GRAPH_SUFFIX)
        return tuple(file for file in self.files if file.name.endswith(suffixes))

    def weights(self) -> tuple[FileEntry, ...]:
        """Return the weights files; checkpoints on the way to them are not."""
        return tuple(
            file
            for file in self.tensors()
            if not file.name.startswith(CHECKPOINT_PREFIX)
        )

    @property
    def size_bytes(self) -> int:
        """The bytes of all files together."""
        return sum(file.size_bytes for file in self.files)
