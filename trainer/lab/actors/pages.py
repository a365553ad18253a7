"""A model's page as the zoos of 2017 had it: a readme that names a URL and a digest.

Source:
    Caffe's ``docs/model_zoo.md``: front matter with name, weights URL and, optional,
    a SHA-1; editable by anyone.
"""

from dataclasses import dataclass

MAX_PAGE_BYTES = 64 * 1024
FENCE = "---"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page says of one model; ``render`` and ``read_page`` are inverses.

    ``model_url`` is relative to the page. ``sha1`` is what the script of the time
    checked where it was given, ``sha256`` what a careful reader compares today, and
    ``publisher_key`` the Ed25519 public key that the page shows, in hexadecimal.
    """

    name: str
    model_url: str
    sha1: str
    sha256: str
    publisher_key: str

    def render(self) -> str:
        """Return the page as Markdown with front matter."""
        fields = (
            f"name: {self.name}",
            f"model_url: {self.model_url}",
            f"sha1: {self.sha1}",
            f"sha256: {self.sha256}",
            f"publisher_key: {self.publisher_key}",
        )
        return "\n".join((FENCE, *fields, FENCE, "", f"# {self.name}", ""))


def read_page(text: str) -> Page:
    """Return what the front matter of ``text`` says.

    Reads ``name: value`` lines only. The script of the time gave the front matter to
    ``yaml.load``, which lets a page run code; that defect is reported, not emulated.

    Raises:
        ValueError: a field is missing.
    """
    lines = iter(text.splitlines())
    if next(lines, None) != FENCE:
        msg = "the page has no front matter"
        raise ValueError(msg)
    fields: dict[str, str] = {}
    for line in lines:
        if line == FENCE:
            break
        name, _, value = line.partition(": ")
        fields[name] = value
    try:
        return Page(**fields)
    except TypeError as error:
        msg = f"the page's front matter is not whole: {error}"
        raise ValueError(msg) from error
