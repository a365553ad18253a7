"""What people ran in 2017: an emulator of the Caffe Model Zoo's download script.

Its four recorded defects, kept on purpose:

1. the digest is optional: a page without one is downloaded without a word;
2. the digest comes from the page that names the URL, so who edits one edits both;
3. the page was read with an unsafe YAML loader and could run code (reported here, and
   not emulated);
4. on a mismatch it exits 1 and leaves the bad file where the good one belongs.

Source:
    ``scripts/download_model_binary.py`` and ``docs/model_zoo.md`` of Caffe.
"""

import hashlib
from pathlib import Path
from urllib.parse import urljoin

from trainer.lab.actors.pages import read_page
from trainer.lab.clients.naive import fetch, fetch_page


def download_model(page_url: str, to: Path) -> int:
    """Download the model that a page names; return the script's exit status.

    Args:
        page_url: the page, over plain HTTP as most were.
        to: where the weights go, and stay, whatever the status says.
    """
    page = read_page(fetch_page(page_url))
    fetch(urljoin(page_url, page.model_url), to)
    if not page.sha1:
        return 0
    found = hashlib.sha1(to.read_bytes(), usedforsecurity=False).hexdigest()
    return 0 if found == page.sha1 else 1
