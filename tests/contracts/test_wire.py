"""What the service answers and what the client reads are the same documents.

The client's classes lack what it has no use for, bound what they take, and forgive what
an older server leaves out; the service's say what it promises (ADR 40).
"""

import pytest
from pydantic import BaseModel

from model_zoo.http import responses
from model_zoo.transparency.client import LeafProof, LeafProofs
from service.api import (
    attempts,
    jobs,
    models,
    pending,
    registrations,
    schemas,
    transparency,
    uploads,
)

PAIRS: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (models.WithdrawnOut, responses.Withdrawn),
    (models.ReleaseOut, responses.PublishedRelease),
    (models.ModelItemOut, responses.ModelListing),
    (models.ModelsOut, responses.Models),
    (models.ModelOut, responses.ModelReleases),
    (models.HoldersOut, responses.FileReleases),
    (models.ReleaseIn, responses.PendingRelease),
    (models.YankIn, responses.PendingYank),
    (schemas.RolesIn, responses.PendingRoles),
    (schemas.AcceptedOut, responses.Accepted),
    (schemas.JobOut, responses.Job),
    (jobs.JobsOut, responses.Jobs),
    (jobs.DraftOut, responses.Draft),
    (attempts.LeaseOut, responses.Lease),
    (attempts.HeartbeatOut, responses.Heartbeat),
    (pending.PendingOut, responses.WaitingChange),
    (pending.SignedOut, responses.Signed),
    (registrations.BindingOut, responses.BoundKey),
    (uploads.UploadOut, responses.Upload),
    (uploads.UploadFileOut, responses.UploadFile),
    (transparency.ProofOut, LeafProof),
    (transparency.ProofsOut, LeafProofs),
]


@pytest.mark.parametrize(
    ("answered", "read"), PAIRS, ids=[read.__name__ for _, read in PAIRS]
)
def test_the_service_answers_every_field_that_the_client_reads(
    answered: type[BaseModel], read: type[BaseModel]
) -> None:
    assert set(read.model_fields) <= set(answered.model_fields)


def test_no_answer_that_the_client_reads_is_left_out() -> None:
    known = {
        kind
        for kind in vars(responses).values()
        if isinstance(kind, type)
        and issubclass(kind, responses.Answer)
        and kind is not responses.Answer
    }
    assert known - {read for _, read in PAIRS} == set()
