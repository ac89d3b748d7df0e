"""Which firms are linked: the same person, card, bank account, name or ultimate parent stands behind both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import CharField, F, Func, Q, Value
from django.db.models.functions import Lower

from marketplace.accounts.models import Firm, Membership
from marketplace.payments.models import BankDetails, Deposit, SavedCard

SHOWN_OF_A_FINGERPRINT = 6
NO_NAME = frozenset({"", "n a", "na", "no", "none", "nil", "not applicable"})  # what people write who have no parent


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that stands behind a firm. `said` is for people, and shows no number of a card or an account."""

    kind: str
    value: str | int | bytes
    said: str


def linked_firms(firm: Firm) -> dict[int, list[str]]:
    """Key of each firm that is linked with this one → what both have, in sentences for operators.

    Ten queries at most, whatever the number of firms.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for having in (_people, _cards, _accounts, _names):
        mine = having([firm.pk], None).get(firm.pk, [])
        if not mine:
            continue
        for other, traits in having(None, [trait.value for trait in mine]).items():
            if other != firm.pk:
                found[other] += [trait.said for trait in traits]
    return {pk: sorted(set(said)) for pk, said in found.items()}


def links_between(one: Firm, other: Firm) -> list[str]:
    """What two firms have in common; empty when they are not linked."""
    return linked_firms(one).get(other.pk, [])


Found = Mapping[int, Sequence[Trait]]
Having = Callable[[Collection[int] | None, Collection[str | int | bytes] | None], Found]


def _grouped(pairs: Collection[tuple[int, Trait]]) -> Found:
    found: dict[int, list[Trait]] = defaultdict(list)
    for firm_id, trait in pairs:
        found[firm_id].append(trait)
    return found


def _people(firms: Collection[int] | None, values: Collection[str | int | bytes] | None) -> Found:
    """Whoever works for it, in whatever role."""
    chosen = Q(firm__in=firms) if firms is not None else Q(user__in=values or ())
    rows = Membership.objects.filter(chosen).values_list("firm_id", "user_id", "user__email")
    return _grouped([(firm, Trait("person", user, f"{email} works for both")) for firm, user, email in rows])


def _cards(firms: Collection[int] | None, values: Collection[str | int | bytes] | None) -> Found:
    """Fingerprints of the cards that paid for it or are saved: https://docs.stripe.com/api/cards/object."""
    pairs: set[tuple[int, str]] = set()
    for model, column in ((Deposit, "card_fingerprint"), (SavedCard, "fingerprint")):
        chosen = Q(firm__in=firms) if firms is not None else Q(**{f"{column}__in": values or ()})
        rows = model._default_manager.filter(chosen).exclude(**{column: ""})
        pairs |= set(rows.values_list("firm_id", column).distinct())
    return _grouped([
        (firm, Trait("card", print_, f"one card was used by both (fingerprint …{print_[-SHOWN_OF_A_FINGERPRINT:]})"))
        for firm, print_ in sorted(pairs)
    ])  # fmt: skip


def _accounts(firms: Collection[int] | None, values: Collection[str | int | bytes] | None) -> Found:
    """Digests of the numbers of its bank accounts."""
    chosen = Q(firm__in=firms) if firms is not None else Q(account_digest__in=values or ())
    rows = BankDetails.objects.filter(chosen).exclude(account_digest=None)
    return _grouped([
        (firm, Trait("account", bytes(digest or b""), f"both are paid to the bank account {hint}"))
        for firm, digest, hint in rows.values_list("firm_id", "account_digest", "hint").distinct()
    ])  # fmt: skip


def _names(firms: Collection[int] | None, values: Collection[str | int | bytes] | None) -> Found:
    """Its own name and its ultimate parent's, whatever the case and the signs between the words."""
    rows = Firm.objects.annotate(own=_alike("name"), parent=_alike("ultimate_parent"))
    chosen = Q(pk__in=firms) if firms is not None else Q(own__in=values or ()) | Q(parent__in=values or ())
    pairs = []
    for firm, own, parent in rows.filter(chosen).values_list("pk", "own", "parent"):
        names = {own, parent} - NO_NAME
        pairs += [
            (firm, Trait("name", name, f"{name} is the name or the ultimate parent of both"))
            for name in sorted(names if values is None else names & {str(value) for value in values})
        ]
    return _grouped(pairs)


def _alike(column: str) -> Func:
    words = Func(
        Lower(F(column)), Value(r"\W+"), Value(" "), Value("g"), function="regexp_replace", output_field=CharField()
    )
    return Func(words, function="btrim", output_field=CharField())
