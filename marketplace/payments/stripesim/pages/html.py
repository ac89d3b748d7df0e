"""HTML of the hosted pages: one column, no script, every button a form that works without one."""

from __future__ import annotations

from html import escape

from marketplace.payments.stripesim.server import Answer

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1a1f36}"
    "h1{font-size:1.4rem}fieldset{border:1px solid #d5dbe1;border-radius:6px;margin:1rem 0}"
    "label{display:block;padding:.2rem 0}button{font:inherit;padding:.5rem 1.2rem;margin-right:.5rem}"
    ".notice{background:#fde8e8;padding:.6rem 1rem;border-radius:6px}.banner{color:#6b7385;font-size:.85rem}"
)


def page(title: str, body: str, *, status: int = 200) -> Answer:
    """A whole page; `body` is HTML already."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body><main>"
        f'<p class="banner">Simulated Stripe, no money moves</p><h1>{escape(title)}</h1>{body}</main></body></html>'
    )
    return Answer(status, text.encode(), {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def redirect(url: str) -> Answer:
    """Sends the visitor on."""
    return Answer(303, b"", {"Location": url}, "text/plain")


def choices(name: str, title: str, options: list[tuple[str, str]], *, first: str) -> str:
    """Radio buttons: (value, text) each, one of them chosen already."""
    lines = [
        f'<label><input type="radio" name="{name}" value="{escape(value)}"{" checked" if value == first else ""}> '
        f"{escape(text)}</label>"
        for value, text in options
    ]
    return f"<fieldset><legend>{escape(title)}</legend>{''.join(lines)}</fieldset>"


def notice(text: str | None) -> str:
    """What went wrong, where something did."""
    return f'<p class="notice" role="alert">{escape(text)}</p>' if text else ""
