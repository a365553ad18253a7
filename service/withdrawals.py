"""Releases that were withdrawn; there is no way back."""

from model_zoo.errors import YankedError
from model_zoo.names import ReleaseName
from service.database.tables import WithdrawalRow
from service.parts import Parts


def find_withdrawal(parts: Parts, name: ReleaseName) -> WithdrawalRow | None:
    """Return who withdrew the release, when and why; None if nobody did."""
    key = (name.publisher, name.model, name.version)
    with parts.database.reading() as session:
        return session.get(WithdrawalRow, key)


def require_not_withdrawn(parts: Parts, name: ReleaseName) -> None:
    """Accept a release that nobody withdrew.

    Raises:
        YankedError: somebody did; the message says who, when and why.
    """
    withdrawal = find_withdrawal(parts, name)
    if withdrawal is not None:
        msg = (
            f"{name} was withdrawn by the {withdrawal.withdrawn_by} on "
            f"{withdrawal.withdrawn_at:%Y-%m-%d}: {withdrawal.reason}"
        )
        raise YankedError(msg)
