"""Metadata is looked at as it arrives, before python-tuf keeps a byte of it.

python-tuf reads JSON as Python does: a name may stand twice, NaN is a number. It
checks what is signed and keeps the rest of the file as well. Such a file would come
along as evidence and be refused there; so it is refused here, by the same function.
"""

from collections.abc import Iterator

from tuf.ngclient import FetcherInterface

from model_zoo.tuf.roles import checked


class CheckedFetcher(FetcherInterface):
    """Brings files of metadata that ``roles.checked`` accepts, and no others."""

    def __init__(self, fetcher: FetcherInterface) -> None:
        self._fetcher = fetcher

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return a file of metadata.

        Raises:
            MalformedDocumentError: it is none that a verifier off line would accept.
            ZooError: as the fetcher beneath.
        """
        data = self._fetcher.download_bytes(url, max_length)
        checked(data)
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._fetcher.fetch(url)
