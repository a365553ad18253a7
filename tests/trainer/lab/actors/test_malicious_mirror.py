"""What a malicious mirror does with an answer, seen over real sockets."""

import itertools
import json
import ssl
import struct
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from model_zoo.clock import system_clock
from model_zoo.errors import (
    DigestMismatchError,
    TransferLimitError,
    TransportError,
    ZooError,
)
from model_zoo.formats.safetensors import check_header
from model_zoo.http.client import Request
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from tests.model_zoo.releases import weights
from tests.model_zoo.servers import NO_AUTHORITY, answering, respond
from trainer.lab.actors.artefacts import marked_weights
from trainer.lab.actors.certificates import issue
from trainer.lab.actors.malicious_mirror import (
    Answer,
    Attrition,
    MaliciousMirror,
    Question,
    Responder,
    mirror_running,
    tls_context,
)
from trainer.lab.attacks.mirror_attacks import (
    ENDLESS,
    ENDLESS_PIECES,
    SLOW,
    absent,
    dripping,
    endless,
    is_for_metadata,
    is_for_weights,
    kept,
    longer,
    overlaid,
    passing_on,
    recording,
    renamed,
    replaying,
    swapped,
)
from trainer.lab.clients.naive import fetch

TRUE = b"the true weights"
FILE = "/alice/model.safetensors"
HASTY = DownloadLimits(
    head_seconds=0.2, answer_seconds=0.5, window_seconds=0.1, pauses_seconds=()
)


def honest(question: Question) -> Answer:
    """Answer every question with the same bytes, and say what was asked."""
    headers = {"Content-Length": str(len(TRUE)), "ETag": f'"{question.path}"'}
    return Answer(headers=headers, body=TRUE)


@pytest.fixture(scope="module")
def mirror(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[MaliciousMirror, Path]]:
    """A running mirror and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("tls")
    files = issue(folder, hosts=("127.0.0.1",), now=system_clock())
    with mirror_running(tls_context(files.chain, files.key)) as running:
        yield running, files.authority


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, verify=NO_AUTHORITY)


def asked(responder: Responder, path: str = FILE, method: str = "GET") -> Answer:
    return responder(Question(method=method, path=path))


def test_each_behaviour_has_a_folder_of_its_own(
    mirror: tuple[MaliciousMirror, Path],
) -> None:
    running, authority = mirror
    first, second = running.mount(honest), running.mount(absent)
    assert get(first.url + FILE).content == TRUE
    assert get(second.url + FILE).status_code == 404
    assert get(running.url + "/nowhere").status_code == 404
    context = ssl.create_default_context(cafile=authority)
    with httpx.Client(verify=context, trust_env=False) as http:
        assert http.get(first.tls_url + FILE).content == TRUE


def test_a_query_and_a_range_reach_the_behaviour(
    mirror: tuple[MaliciousMirror, Path],
) -> None:
    questions: list[Question] = []

    def listening(question: Question) -> Answer:
        questions.append(question)
        return honest(question)

    url = mirror[0].mount(listening).url
    httpx.get(
        f"{url}/a?b=c",
        headers={"Range": "bytes=1-"},
        trust_env=False,
        verify=NO_AUTHORITY,
    )
    assert questions == [
        Question(method="GET", path="/a?b=c", headers={"Range": "bytes=1-"})
    ]


def test_a_head_has_the_headers_and_no_body(
    mirror: tuple[MaliciousMirror, Path],
) -> None:
    answer = httpx.head(mirror[0].mount(honest).url + FILE, trust_env=False)
    assert (answer.headers["Content-Length"], answer.content) == (str(len(TRUE)), b"")


def test_an_honest_mirror_passes_on_body_status_and_what_clients_look_at() -> None:
    with (
        answering(
            lambda request: respond(
                request,
                request.path.encode(),
                status=404,
                headers={"X-Error-Code": "RepoNotFound", "Server": "x"},
            )
        ) as url,
        passing_on(Server(url)) as responder,
    ):
        answer = asked(responder, "/a?b=c")
    assert (answer.status, answer.body) == (404, b"/a?b=c")
    assert answer.headers == {"Content-Length": "6", "X-Error-Code": "RepoNotFound"}


def test_files_lie_over_what_is_passed_on() -> None:
    responder = overlaid({"/page": b"another"}, honest)
    assert asked(responder, "/page").body == b"another"
    assert asked(responder).body == TRUE


def test_what_was_recorded_is_replayed_and_nothing_else() -> None:
    archive: dict[str, Answer] = {}
    asked(recording(archive, honest))
    assert asked(replaying(archive)).body == TRUE
    assert asked(replaying(archive), method="HEAD").status == 404
    assert asked(replaying(archive, honest), "/new").body == TRUE


def test_weights_are_swapped_on_every_route_and_checkpoints_are_not() -> None:
    responder = swapped(b"others", honest)
    for path in (FILE, "/hub/a/b/1/weights-00.safetensors", "/t/00.model.safetensors"):
        answer = asked(responder, path)
        assert (answer.body, answer.headers["Content-Length"]) == (b"others", "6")
    assert asked(responder, "/a/checkpoint-1.safetensors").body == TRUE
    assert asked(responder, "/a/config.json").body == TRUE
    assert asked(swapped(b"others", absent)).status == 404


def test_a_longer_file_is_sent_where_the_true_length_was_told() -> None:
    responder = longer(b"longer than the true", honest)
    told = asked(responder, method="HEAD").headers["Content-Length"]
    sent = asked(responder)
    assert (told, "Content-Length" in sent.headers) == (str(len(TRUE)), False)
    assert sent.body == b"longer than the true"


def test_endless_data_ends_after_more_than_anybody_waits_for() -> None:
    attrition = Attrition()
    answer = asked(endless(honest, attrition))
    assert "Content-Length" not in answer.headers
    assert not isinstance(answer.body, bytes)
    pieces = iter(answer.body)
    sent = sum(len(piece) for piece in itertools.islice(pieces, ENDLESS_PIECES))
    assert sent > 1000 * len(TRUE)
    assert not attrition.outlasted  # the last piece has yet to be taken
    assert list(pieces) == []
    assert attrition.outlasted


def test_dripping_sends_the_true_bytes_one_by_one() -> None:
    attrition = Attrition()
    answer = asked(dripping(honest, attrition))
    first = list(itertools.islice(iter(answer.body), 2))
    assert first == [TRUE[:1], TRUE[1:2]]
    assert not attrition.outlasted


def test_who_reads_to_the_last_is_outlasted_and_who_hangs_up_is_not(
    mirror: tuple[MaliciousMirror, Path],
) -> None:
    patient, impatient = Attrition(), Attrition()
    urls = [mirror[0].mount(endless(honest, it)).url for it in (patient, impatient)]
    with httpx.stream("GET", urls[1] + FILE, trust_env=False) as response:
        assert next(response.iter_raw())
    get(urls[0] + FILE)
    assert patient.outlasted
    assert not impatient.outlasted
    assert get(urls[0] + FILE).status_code == 404  # it is over for who asks again


def test_who_names_a_limit_of_his_own_is_not_beaten_by_what_lies_in_sockets() -> None:
    to_the_last = Attrition(outlasted=True)
    assert to_the_last.has_beaten(None)
    assert to_the_last.has_beaten(TransportError("it broke off"))
    assert to_the_last.has_beaten(DigestMismatchError("other bytes"))
    assert not to_the_last.has_beaten(TransferLimitError("too slow"))
    assert not Attrition().has_beaten(TransportError("it broke off"))


def test_a_slow_answer_is_no_attack(tmp_path: Path) -> None:
    def slowly(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(TRUE)))
        request.end_headers()
        request.wfile.write(TRUE[:1])
        time.sleep(6)  # as a busy machine may; the judge once gave up after five
        request.wfile.write(TRUE[1:])

    with answering(slowly) as url:
        fetch(url, tmp_path / "weights")
    assert (tmp_path / "weights").read_bytes() == TRUE


def test_another_name_is_answered_for() -> None:
    answer = asked(renamed("/%D0%B0lice", "/a1ice", honest), "/%D0%B0lice/page")
    assert answer.headers["ETag"] == '"/a1ice/page"'


def test_a_mark_changes_the_file_and_no_tensor(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_bytes(weights())
    after.write_bytes(marked_weights(weights(), mark="one"))
    assert check_header(after).metadata == {"mark": "one"}
    assert check_header(after).tensors.keys() == check_header(before).tensors.keys()
    assert tensors(after) == tensors(before)
    assert marked_weights(weights(), mark="two") != after.read_bytes()


def tensors(path: Path) -> bytes:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    json.loads(data[8 : 8 + length])
    return data[8 + length :]


@pytest.mark.parametrize("way", [*SLOW, *ENDLESS])
def test_our_client_leaves_each_way_to_keep_it_and_other_questions_are_answered(
    mirror: tuple[MaliciousMirror, Path], way: str
) -> None:
    running, _ = mirror
    by, attrition = {**SLOW, **ENDLESS}[way], Attrition()
    at = running.mount(kept(by, honest, attrition, asked=is_for_weights))
    with Transport(Server(at.url), HASTY) as transport:
        request = Request(path=transport.server.base_path + FILE)
        with pytest.raises(TransferLimitError if way in SLOW else ZooError):
            transport.http.fetch(request)
    assert not attrition.outlasted
    assert get(f"{at.url}/alice/config.json").content == TRUE


def test_what_is_kept_is_weights_or_what_is_said_of_them() -> None:
    release = "/api/v1/models/alice/digits/releases/1"
    for path in (release, "/tuf/metadata/timestamp.json"):
        assert is_for_metadata(Question(method="GET", path=path))
    for path in (f"{release}/files/model.safetensors", "/page"):
        assert not is_for_metadata(Question(method="GET", path=path))
