import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from model_zoo.statements.evaluation import EvaluationReport, Proportion
from service.database.tables import JobRow
from service.jobs.attempts import reap
from tests.service.zoo import (
    JSON,
    MALLORY,
    Zoo,
    assert_problem,
    built,
    weights,
)

LEASE_SECONDS = 30
SHARE = Proportion(successes=9, n=10)


def report(dataset: str, attacked: Proportion | None = None) -> EvaluationReport:
    """Return what a worker measured."""
    return EvaluationReport(
        dataset=dataset,
        accuracy=SHARE,
        attack_success=attacked,
        robust_accuracy=attacked,
    )


def expire(zoo: Zoo) -> None:
    zoo.clock.advance(LEASE_SECONDS + 1)


def test_a_job_is_leased_done_and_ends_in_a_draft(zoo: Zoo) -> None:
    job = zoo.submit(note="hello")
    lease = zoo.leased()

    assert (lease["job"], lease["number"]) == (job["id"], 1)
    assert lease["spec"] == job["spec"]
    completion = zoo.completion(lease) | {"claimed_evaluation": {"accuracy": 1}}
    done = zoo.complete(lease, completion).json()

    assert done["state"] == "succeeded"
    assert done["claimed_evaluation"] == {"accuracy": 1}
    assert done["finished_at"] == "2026-11-22T13:00:00Z"
    draft = zoo.get(f"/jobs/{job['id']}/draft").json()
    assert draft["provenance"] == completion["provenance"]
    assert [file["name"] for file in draft["files"]] == ["result.json"]
    sent = zoo.get(f"/jobs/{job['id']}/draft/files/result.json")
    assert sent.content == JSON
    assert [event["event"] for event in zoo.events(job["id"])] == [
        "queued",
        "started",
        "succeeded",
    ]


def test_there_is_nothing_to_lease_where_nothing_is_queued(zoo: Zoo) -> None:
    response = zoo.lease()

    assert (response.status_code, response.content) == (204, b"")


def test_a_worker_is_given_only_kinds_it_can_do_and_its_own_trainers_jobs(
    zoo: Zoo,
) -> None:
    zoo.submit()
    body = {"worker": "w1", "kinds": ["train"], "lease_seconds": 30}
    assert zoo.post("/trainers/lab/leases", body).status_code == 204
    key = {"public_key": MALLORY.public.to_pem()}
    zoo.put("/trainers/other", key)
    body = {"worker": "w1", "kinds": ["noop"], "lease_seconds": 30}
    assert zoo.post("/trainers/other/leases", body).status_code == 204
    assert_problem(zoo.post("/trainers/nobody/leases", body), 404, "NotFoundError")


def test_jobs_are_leased_in_the_order_they_came(zoo: Zoo) -> None:
    first = zoo.submit(note="first")
    zoo.clock.advance(1)
    second = zoo.submit(note="second")

    assert [zoo.leased()["job"], zoo.leased()["job"]] == [first["id"], second["id"]]


def test_many_workers_at_once_never_lease_one_job_twice(zoo: Zoo) -> None:
    submitted = {zoo.submit()["id"] for _ in range(12)}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: zoo.lease(f"w{n}"), range(24)))

    leased = Counter(a.json()["job"] for a in answers if a.status_code == 200)
    assert leased == Counter(submitted)
    assert {answer.status_code for answer in answers} == {200, 204}


def test_a_heartbeat_keeps_the_lease_alive(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    for _ in range(5):
        zoo.clock.advance(LEASE_SECONDS - 1)
        response = zoo.post(f"/attempts/{lease['attempt']}/heartbeat")
        assert response.json() == {"cancel": False}
    assert zoo.complete(lease).status_code == 200


def test_a_job_whose_worker_went_silent_is_queued_again(zoo: Zoo) -> None:
    job = zoo.submit()
    zoo.leased("sleeper")
    expire(zoo)

    lease = zoo.leased("w2")

    assert (lease["job"], lease["number"]) == (job["id"], 2)
    assert zoo.complete(lease).status_code == 200
    events = zoo.events(job["id"])
    assert [event["event"] for event in events] == [
        "queued",
        "started",
        "lost",
        "queued",
        "started",
        "succeeded",
    ]
    assert events[2]["data"] == {"attempt": 1, "worker": "sleeper"}


@pytest.mark.parametrize("reaped", [True, False])
def test_a_worker_that_wakes_after_its_lease_can_do_nothing(
    zoo: Zoo, *, reaped: bool
) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    completion = zoo.completion(lease)
    expire(zoo)
    if reaped:
        assert reap(zoo.app.state.context) == 1

    for call, body in {
        "heartbeat": {},
        "events": {"events": [{"type": "log", "data": {}}]},
        "complete": completion,
        "fail": {"error": "x", "retry": True},
        "cancelled": {},
    }.items():
        response = zoo.post(f"/attempts/{lease['attempt']}/{call}", body)
        assert_problem(response, 409, "ConflictError")
    assert_problem(zoo.get(f"/jobs/{job['id']}/draft"), 404, "NotFoundError")


def test_a_sleeper_and_its_successor_make_exactly_one_draft(zoo: Zoo) -> None:
    job = zoo.submit()
    sleeper = zoo.leased("sleeper")
    late = zoo.completion(sleeper, {"result.json": b'{"by": "sleeper"}'})
    expire(zoo)
    successor = zoo.leased("successor")
    assert zoo.complete(successor).status_code == 200

    assert_problem(zoo.complete(sleeper, late), 409, "ConflictError")
    draft = zoo.get(f"/jobs/{job['id']}/draft/files/result.json")
    assert draft.content == JSON


def test_completing_at_once_from_many_threads_makes_one_draft(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    bodies = [zoo.completion(lease) for _ in range(6)]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: zoo.complete(lease, body), bodies))

    codes = Counter(answer.status_code for answer in answers)
    assert codes == {200: 1, 409: 5}


def test_a_completion_whose_answer_was_lost_may_be_sent_again(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    body = zoo.completion(lease)

    first, again = zoo.complete(lease, body), zoo.complete(lease, body)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()


def test_an_attempt_that_no_longer_holds_its_job_is_fenced_off(zoo: Zoo) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    with zoo.app.state.context.database.writing() as session:
        session.get_one(JobRow, job["id"]).attempt_id = "f" * 32

    response = zoo.post(f"/attempts/{lease['attempt']}/heartbeat")

    assert_problem(response, 409, "ConflictError")


def test_a_job_that_loses_three_workers_fails(zoo: Zoo) -> None:
    job = zoo.submit()
    for number in range(3):
        zoo.leased(f"w{number}")
        expire(zoo)

    assert zoo.lease().status_code == 204
    shown = zoo.get(f"/jobs/{job['id']}").json()
    assert (shown["state"], shown["attempts"]) == ("failed", 3)
    assert "w2 stopped answering" in shown["error"]


def test_a_failure_that_may_pass_is_tried_again_and_another_is_not(zoo: Zoo) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    body = {"error": "out of memory", "retry": True}
    again = zoo.post(f"/attempts/{lease['attempt']}/fail", body).json()
    assert (again["state"], again["error"]) == ("queued", "out of memory")

    lease = zoo.leased()
    body = {"error": "no such class", "retry": False}
    ended = zoo.post(f"/attempts/{lease['attempt']}/fail", body).json()
    assert (ended["state"], ended["error"]) == ("failed", "no such class")
    assert zoo.events(job["id"])[-1]["data"] == {"error": "no such class"}


def test_a_third_failure_ends_the_job(zoo: Zoo) -> None:
    zoo.submit()
    states = []
    for _ in range(3):
        lease = zoo.leased()
        body = {"error": "again", "retry": True}
        answer = zoo.post(f"/attempts/{lease['attempt']}/fail", body)
        states.append(answer.json()["state"])
    assert states == ["queued", "queued", "failed"]


def test_a_running_job_is_cancelled_by_its_worker(zoo: Zoo) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    attempt = f"/attempts/{lease['attempt']}"
    assert_problem(zoo.post(f"{attempt}/cancelled"), 409, "ConflictError")

    asked = zoo.post(f"/jobs/{job['id']}/cancel")

    assert (asked.status_code, asked.json()["state"]) == (202, "running")
    assert zoo.post(f"{attempt}/heartbeat").json() == {"cancel": True}
    assert zoo.post(f"{attempt}/cancelled").json()["state"] == "cancelled"
    assert zoo.events(job["id"])[-1]["event"] == "cancelled"


def test_a_cancelled_job_whose_worker_went_silent_is_not_tried_again(
    zoo: Zoo,
) -> None:
    job = zoo.submit()
    zoo.leased()
    zoo.post(f"/jobs/{job['id']}/cancel")
    expire(zoo)

    assert zoo.lease().status_code == 204
    assert zoo.get(f"/jobs/{job['id']}").json()["state"] == "cancelled"


def test_provenance_must_be_the_trainers_own(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()

    response = zoo.complete(lease, zoo.completion(lease, key=MALLORY))

    assert_problem(response, 422, "ThresholdNotMetError")


def test_provenance_must_be_of_the_uploaded_files(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    body = zoo.completion(lease)
    body["provenance"] = built({"result.json": b"{}"}, lease["spec"])

    assert_problem(zoo.complete(lease, body), 422, "ProvenanceMismatchError")


@pytest.mark.parametrize(
    "changes", [{"spec": {"note": "another"}}, {"kind": "train"}], ids=["spec", "kind"]
)
def test_provenance_must_be_of_what_was_asked_for(
    zoo: Zoo, changes: dict[str, Any]
) -> None:
    zoo.submit(note="as asked")
    lease = zoo.leased()

    response = zoo.complete(lease, zoo.completion(lease, **changes))

    assert_problem(response, 422, "ProvenanceMismatchError")
    assert zoo.complete(lease).status_code == 200


def test_a_lease_is_not_completed_with_the_provenance_of_another_job(zoo: Zoo) -> None:
    zoo.submit(note="asked for twice")
    zoo.submit(note="asked for twice")
    first, second = zoo.leased(), zoo.leased()
    body = zoo.completion(first)
    assert zoo.complete(first, body).status_code == 200

    assert_problem(zoo.complete(second, body), 422, "ProvenanceMismatchError")
    assert zoo.complete(second).status_code == 200


def test_a_second_attempt_is_not_completed_with_the_provenance_of_the_first(
    zoo: Zoo,
) -> None:
    zoo.submit()
    body = zoo.completion(zoo.leased())
    expire(zoo)

    response = zoo.complete(zoo.leased(), body)

    assert_problem(response, 422, "ProvenanceMismatchError")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"inputs": {}}, id="without its data set"),
        pytest.param({"inputs": {"gtsrb": "1" * 64}}, id="another data set"),
        pytest.param(
            {"inputs": {"mnist": "1" * 64, "parent": "2" * 64}}, id="a parent too many"
        ),
        pytest.param({"measured": None}, id="without a measurement"),
        pytest.param({"measured": report("gtsrb")}, id="measured on other data"),
        pytest.param({"measured": report("mnist", SHARE)}, id="of an attack not asked"),
    ],
)
def test_inputs_and_measurement_are_those_of_the_spec(
    zoo: Zoo, changes: dict[str, Any]
) -> None:
    job = zoo.post("/jobs", {"kind": "train", "trainer": "lab", "spec": {}}).json()
    body = {"worker": "w1", "kinds": ["train"], "lease_seconds": 30}
    lease = zoo.post("/trainers/lab/leases", body).json()
    right = {
        "kind": "train",
        "spec": lease["spec"],
        "inputs": {"mnist": "1" * 64},
        "measured": report("mnist"),
        "invocation": f"{lease['job']}/{lease['attempt']}",
    }
    body = zoo.completion(lease | {"spec": {}}, **(right | changes))
    assert_problem(zoo.complete(lease, body), 422, "ProvenanceMismatchError")

    body = zoo.completion(lease | {"spec": {}}, **right)
    assert zoo.complete(lease, body).status_code == 200
    shown = zoo.get(f"/jobs/{job['id']}").json()
    assert shown["measured_evaluation"] == report("mnist").to_object()


def test_a_job_that_is_not_measured_takes_no_measurement(zoo: Zoo) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    body = zoo.completion(lease, measured=report("mnist"))

    assert_problem(zoo.complete(lease, body), 422, "ProvenanceMismatchError")
    assert zoo.complete(lease).status_code == 200
    assert zoo.get(f"/jobs/{job['id']}").json()["measured_evaluation"] is None


def test_a_measurement_that_nobody_signed_is_not_taken(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    body = zoo.completion(lease) | {"measured_evaluation": {"accuracy": 1}}

    assert_problem(zoo.complete(lease, body), 400, "InvalidSpecError")


def test_an_attempt_is_completed_with_a_complete_upload_only(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    body = zoo.completion(lease)
    opened = zoo.declare({"result.json": JSON}).json()["id"]

    response = zoo.complete(lease, body | {"upload": opened})
    assert_problem(response, 400, "InvalidSpecError")
    response = zoo.complete(lease, body | {"upload": "f" * 32})
    assert_problem(response, 404, "NotFoundError")


def test_progress_is_kept_in_order_with_numbers(zoo: Zoo) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    told = [{"type": "progress", "data": {"epoch": n}} for n in range(3)]
    response = zoo.post(f"/attempts/{lease['attempt']}/events", {"events": told})
    assert response.status_code == 204
    zoo.complete(lease)

    events = zoo.events(job["id"])

    assert [int(event["id"]) for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event["data"] for event in events[2:5]] == [item["data"] for item in told]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([{"type": "log", "data": {}}] * 65, id="too many"),
        pytest.param([{"type": "log", "data": {"x": "y" * 70_000}}], id="too long"),
        pytest.param([{"type": "succeeded", "data": {}}], id="a forged ending"),
        pytest.param([{"type": "log", "data": {"x": "\ud800"}}], id="no Unicode"),
    ],
)
def test_events_are_bounded_and_cannot_end_a_job(zoo: Zoo, events: object) -> None:
    zoo.submit()
    lease = zoo.leased()

    response = zoo.ask(
        "POST",
        f"/attempts/{lease['attempt']}/events",
        content=json.dumps({"events": events}),
        headers={"Content-Type": "application/json"},
    )

    assert_problem(response, 400, "InvalidSpecError")


def test_what_a_draft_holds_can_be_published_without_sending_it_again(zoo: Zoo) -> None:
    zoo.submit()
    lease = zoo.leased()
    files = {"model.safetensors": weights()}
    zoo.complete(lease, zoo.completion(lease, files))

    upload = zoo.declare(files).json()

    assert [file["missing"] for file in upload["files"]] == [[]]
    assert zoo.upload(files)
