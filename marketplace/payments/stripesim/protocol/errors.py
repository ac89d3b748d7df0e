"""Refusals in the form that Stripe gives them: https://docs.stripe.com/api/errors."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer other than 200. `keep` says that what was changed before the refusal stays changed."""

    def __init__(self, status: int, kind: str, message: str, *, keep: bool = False, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.keep = keep
        self.fields = {"type": kind, "message": message, **{k: v for k, v in fields.items() if v is not None}}

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return {"error": self.fields}


def invalid(message: str, *, param: str | None = None, code: str | None = None, **fields: Any) -> ApiError:
    """400: the request can't be right."""
    return ApiError(400, "invalid_request_error", message, param=param, code=code, **fields)


def missing(kind: str, key: str, *, param: str = "id") -> ApiError:
    """404 for the object that an address names, 400's sibling for one that a parameter names; Stripe's code is one."""
    message = f"No such {kind.replace('.', ' ').replace('_', ' ')}: '{key}'"
    status = 404 if param == "id" else 400
    return ApiError(status, "invalid_request_error", message, code="resource_missing", param=param)


def not_simulated(what: str) -> ApiError:
    """501: no answer is made up."""
    return ApiError(501, "api_error", f"the simulator does not implement {what}", code="not_simulated")


def declined(message: str, *, code: str, decline_code: str | None = None, **fields: Any) -> ApiError:
    """402: the card was refused. The attempt is on record, so what led to it is kept."""
    return ApiError(402, "card_error", message, keep=True, code=code, decline_code=decline_code, **fields)
