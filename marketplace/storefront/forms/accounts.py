"""Signing up, signing in, members and keys."""

from __future__ import annotations

import functools
from typing import Any

from django import forms

from marketplace.accounts.roles import Role, Scope
from marketplace.common.countries import COUNTRIES
from marketplace.storefront.forms.base import PageForm


@functools.cache
def countries() -> list[tuple[str, str]]:
    """ISO 3166-1 codes and English names, by name."""
    return sorted(COUNTRIES.items(), key=lambda row: row[1])


def country_choices() -> list[tuple[str, str]]:
    """For a field that must be chosen."""
    return [("", "Choose a country"), *countries()]


class SignInForm(PageForm):
    """E-mail address and password."""

    email = forms.EmailField(
        label="E-mail address", widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True})
    )
    password = forms.CharField(
        label="Password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class FirmForm(PageForm):
    """What a firm says of itself."""

    name = forms.CharField(
        label="Name of the firm", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization"})
    )
    headquarters_country = forms.ChoiceField(label="Country of its headquarters", choices=country_choices)
    ultimate_parent = forms.CharField(
        label="Ultimate parent",
        max_length=120,
        required=False,
        help_text="The firm at the top, when yours belongs to another one.",
    )
    ultimate_parent_country = forms.ChoiceField(
        label="Country of the ultimate parent", choices=country_choices, required=False
    )
    intended_use = forms.CharField(
        label="What you will use the GPUs for, or why you rent them out",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One or two sentences. Export rules make us ask everybody.",
    )

    def clean(self) -> dict[str, Any]:
        values = dict(super().clean() or self.cleaned_data)
        if values.get("ultimate_parent") and not values.get("ultimate_parent_country"):
            self.add_error("ultimate_parent_country", "Say where the parent has its headquarters.")
        return values


class SignUpForm(FirmForm):
    """A new person with a new firm."""

    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput(attrs={"autocomplete": "username"}))
    password = forms.CharField(
        label="Password",
        strip=False,
        min_length=10,
        help_text="At least 10 characters.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    field_order = ("email", "password")


class MemberForm(PageForm):
    """Give a member another role, or invite a person who has an account."""

    email = forms.EmailField(label="E-mail address", help_text="The person needs an account first.")
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.VIEWER)


class PasswordForm(PageForm):
    """Another password."""

    current = forms.CharField(
        label="Your password now", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    password = forms.CharField(
        label="Your new password",
        strip=False,
        min_length=10,
        max_length=200,
        help_text="At least 10 characters.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class KeyForm(PageForm):
    """A new API key."""

    name = forms.CharField(label="Name", max_length=80, help_text="Where it is used, so that you know it again.")
    scopes = forms.MultipleChoiceField(
        label="What it may do", choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=[Scope.READ]
    )
