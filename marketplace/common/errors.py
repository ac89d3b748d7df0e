"""What a caller can do wrong. The class says the HTTP status, the code is stable, the message is for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong value; `pointer` is a JSON pointer into the body, or `?name` for a query parameter."""

    pointer: str
    code: str
    detail: str


class DomainError(Exception):
    """The request can't be carried out; nothing was changed."""

    status = 400
    code = "invalid"
    title = "Bad request"

    def __init__(self, detail: str, *, code: str | None = None, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.errors = errors


class Invalid(DomainError):
    """The request has a wrong shape or value."""


class Unauthorised(DomainError):
    """Nobody we know."""

    status, code, title = 401, "unauthorised", "Unauthorised"


class NotAllowed(DomainError):
    """The caller's role or scope does not allow this."""

    status, code, title = 403, "not_allowed", "Not allowed"


class NotFound(DomainError):
    """There is no such thing, or it belongs to another firm: the answer is the same."""

    status, code, title = 404, "not_found", "Not found"

    def __init__(self, detail: str = "there is no such thing, or it is not yours") -> None:
        super().__init__(detail)


class Conflict(DomainError):
    """The thing is not in a state that allows this."""

    status, code, title = 409, "conflict", "Conflict"


class TooLarge(DomainError):
    """The body is longer than any that is asked for; nothing of it was read."""

    status, code, title = 413, "too_large", "Payload too large"


class Unprocessable(DomainError):
    """The same Idempotency-Key came with another body."""

    status, code, title = 422, "idempotency_key_reused", "Unprocessable"


class TooMany(DomainError):
    """The caller asks faster than it may."""

    status, code, title = 429, "rate_limited", "Too many requests"


class Unavailable(DomainError):
    """A part that the answer needs is away; try again."""

    status, code, title = 503, "unavailable", "Service unavailable"
