"""What other apps call. A refusal is an error that the caller raises after the record is kept."""

from marketplace.compliance.inquiry import Stage
from marketplace.compliance.items import Item
from marketplace.compliance.services.deciding import (
    decide_lease,
    decide_sale,
    item_of,
    may_lease,
    reproduce,
    require_allowed,
)
from marketplace.compliance.services.ending import end_case

__all__ = [
    "Item",
    "Stage",
    "decide_lease",
    "decide_sale",
    "end_case",
    "item_of",
    "may_lease",
    "reproduce",
    "require_allowed",
]
