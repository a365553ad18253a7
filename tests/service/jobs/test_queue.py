import httpx
import pytest

from tests.service.zoo import Zoo, assert_problem


def test_a_job_is_accepted_shown_and_listed(zoo: Zoo) -> None:
    response = zoo.post(
        "/jobs", {"kind": "noop", "trainer": "lab", "spec": {"note": "hi"}}
    )

    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert job["spec"] == {"note": "hi", "seconds": 0.0, "max_seconds": 60}
    assert (job["state"], job["attempts"]) == ("queued", 0)
    assert zoo.get(f"/jobs/{job['id']}").json() == job
    assert zoo.get("/jobs").json() == {"items": [job]}


def test_equal_specs_have_equal_digests(zoo: Zoo) -> None:
    same, again, other = zoo.submit(), zoo.submit(), zoo.submit(note="other")
    assert same["spec_digest"] == again["spec_digest"] != other["spec_digest"]


def test_jobs_are_listed_by_state_and_trainer_the_newest_first(zoo: Zoo) -> None:
    old = zoo.submit()
    zoo.clock.advance(1)
    new = zoo.submit()
    zoo.post(f"/jobs/{old['id']}/cancel")

    def ids(query: str) -> list[str]:
        return [job["id"] for job in zoo.get(f"/jobs?{query}").json()["items"]]

    assert ids("") == [new["id"], old["id"]]
    assert ids("state=cancelled") == [old["id"]]
    assert ids("state=queued&trainer=lab") == [new["id"]]
    assert ids("trainer=nobody") == []
    for wrong in ("state=asleep", "trainer=..", "trainer=%00"):
        assert_problem(zoo.get(f"/jobs?{wrong}"), 400, "InvalidSpecError")


def test_a_spec_that_makes_no_sense_is_refused(zoo: Zoo) -> None:
    for kind, spec in (
        ("noop", {"seconds": -1}),
        ("noop", {"import": "os"}),
        ("train", {"network": "os.system"}),
        ("train", {"schedule": {"epochs": 10_000}}),
        ("dance", {}),
    ):
        response = zoo.post("/jobs", {"kind": kind, "trainer": "lab", "spec": spec})
        assert_problem(response, 400, "InvalidSpecError")


def test_a_spec_with_nan_is_refused(zoo: Zoo) -> None:
    response = zoo.ask(
        "POST",
        "/jobs",
        content='{"kind": "noop", "trainer": "lab", "spec": {"seconds": NaN}}',
        headers={"Content-Type": "application/json"},
    )
    assert_problem(response, 400, "InvalidSpecError")


def test_a_trainer_whom_nobody_bound_gets_no_jobs(zoo: Zoo) -> None:
    response = zoo.post("/jobs", {"kind": "noop", "trainer": "nobody", "spec": {}})
    assert_problem(response, 404, "NotFoundError")


def test_jobs_and_attempts_that_do_not_exist_are_not_found(zoo: Zoo) -> None:
    for path in ("", "/events", "/draft", "/draft/files/x.json"):
        response = zoo.get(f"/jobs/{'0' * 32}{path}")
        assert_problem(response, 404, "NotFoundError")
        assert_problem(zoo.get(f"/jobs/nonsense{path}"), 400, "InvalidSpecError")
    for call in ("heartbeat", "cancelled"):
        response = zoo.post(f"/attempts/{'0' * 32}/{call}")
        assert_problem(response, 404, "NotFoundError")
        response = zoo.post(f"/attempts/nonsense/{call}")
        assert_problem(response, 400, "InvalidSpecError")


def test_a_name_that_no_worker_of_the_trainer_offered_is_refused_with_the_list(
    zoo: Zoo,
) -> None:
    def submitted(network: str) -> httpx.Response:
        spec = {"network": network}
        return zoo.post("/jobs", {"kind": "train", "trainer": "lab", "spec": spec})

    def offered(worker: str, *names: str) -> int:
        body = {"worker": worker, "kinds": ["noop"], "lease_seconds": 30}
        return zoo.post(
            "/trainers/lab/leases", {**body, "names": list(names)}
        ).status_code

    refused = submitted("acme:resnet9")
    assert_problem(refused, 400, "InvalidSpecError")
    assert "none of other packages" in refused.json()["detail"]

    # as a trigger it is no network
    assert offered("w1", "triggers/acme:resnet9", "networks/acme:resnet18") == 204
    refused = submitted("acme:resnet9")
    assert_problem(refused, 400, "InvalidSpecError")
    assert (
        "offer networks/acme:resnet18, triggers/acme:resnet9"
        in refused.json()["detail"]
    )

    # what one worker offers another need not, and a later one may
    assert offered("w2", "networks/acme:resnet9") == 204
    assert offered("w1") == 204
    assert submitted("acme:resnet9").status_code == 202
    assert submitted("badnets-cnn").status_code == 202
    assert_problem(submitted("acme:resnet18"), 400, "InvalidSpecError")


@pytest.mark.parametrize(
    "name",
    ["resnet9", "networks/resnet9", "spells/acme:x", "networks/acme:x\n", "a" * 999],
)
def test_a_worker_that_offers_what_is_no_name_is_refused(zoo: Zoo, name: str) -> None:
    body = {"worker": "w1", "kinds": ["noop"], "names": [name], "lease_seconds": 30}

    assert_problem(zoo.post("/trainers/lab/leases", body), 400, "InvalidSpecError")


def test_a_queued_job_is_cancelled_at_once_and_never_leased(zoo: Zoo) -> None:
    job = zoo.submit()

    cancelled = zoo.post(f"/jobs/{job['id']}/cancel")

    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert zoo.lease().status_code == 204
    assert zoo.post(f"/jobs/{job['id']}/cancel").status_code == 202
    assert [event["event"] for event in zoo.events(job["id"])] == [
        "queued",
        "cancelled",
    ]


def test_a_finished_job_cannot_be_cancelled(zoo: Zoo) -> None:
    job = zoo.submit()
    zoo.complete(zoo.leased())

    response = zoo.post(f"/jobs/{job['id']}/cancel")

    assert_problem(response, 409, "ConflictError")


def test_a_waiting_job_says_what_it_waits_for(zoo: Zoo) -> None:
    def reason(job: dict[str, object]) -> str | None:
        shown = zoo.get(f"/jobs/{job['id']}").json()
        return None if shown["waiting_because"] is None else shown["waiting_because"]

    first = zoo.submit()
    assert reason(first) == "no worker of trainer lab has asked for work lately"
    body = {"worker": "w1", "kinds": ["train"], "lease_seconds": 30}
    zoo.post("/trainers/lab/leases", body)
    assert reason(first) == "no worker of trainer lab does jobs of kind noop"
    lease = zoo.leased()
    assert reason(first) is None
    second = zoo.submit()
    assert reason(second) == "the workers of trainer lab are busy with other jobs"
    zoo.complete(lease)
    assert reason(second) is None


def test_a_stream_goes_on_after_the_last_event_that_was_seen(zoo: Zoo) -> None:
    job = zoo.submit()
    zoo.complete(zoo.leased())

    assert [event["id"] for event in zoo.events(job["id"])] == ["1", "2", "3"]
    assert [event["id"] for event in zoo.events(job["id"], after=2)] == ["3"]


def test_a_stream_refuses_an_event_id_that_is_no_number(zoo: Zoo) -> None:
    job = zoo.submit()
    for wrong in ("x", "-1", "9" * 30):
        headers = {"Last-Event-ID": wrong}
        response = zoo.get(f"/jobs/{job['id']}/events", headers=headers)
        assert_problem(response, 400, "InvalidSpecError")
