"""The only way a state changes: compare-and-set, and the events that tell of it, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

from django.db import models, transaction

from marketplace.common.errors import Conflict
from marketplace.events.services import record_event


class Stateful(Protocol):
    """A model with a `state` column, a table of its transitions and the firms that hear of a change.

    None among the firms tells the operators.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]]
    EVENT: ClassVar[str]
    pk: Any
    public_id: Any
    state: Any

    @property
    def event_firm_ids(self) -> Sequence[int | None]: ...


class WrongState(Conflict):
    """The thing has moved on, or may never move there."""

    code = "wrong_state"


@transaction.atomic
def transition(
    row: Stateful,
    to: str,
    *,
    now: datetime,
    reason: str = "",
    actor: str = "system",
    data: Mapping[str, Any] | None = None,
    **columns: Any,
) -> None:
    """Move `row` to the state `to` and set `columns` with it.

    Raises WrongState when the table does not allow it or another worker was first; nothing is changed then.
    """
    old = str(row.state)
    if to not in row.STATES[old]:
        raise WrongState(f"this {row.EVENT.replace('_', ' ')} is {old} and can't become {to}")
    model: type[models.Model] = type(row)  # type: ignore[assignment]
    moved = model._default_manager.filter(pk=row.pk, state=old).update(state=to, **columns)
    if not moved:
        raise WrongState(f"this {row.EVENT.replace('_', ' ')} is no longer {old}")
    for name, value in ({"state": to} | columns).items():
        setattr(row, name, value)
    for firm_id in row.event_firm_ids:
        record_event(
            firm_id=firm_id,
            type=f"{row.EVENT}.{to}",
            subject=row.public_id,
            reason=reason,
            actor=actor,
            data={"from": old} | dict(data or {}),
            now=now,
        )
