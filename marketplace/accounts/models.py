"""People, firms, who works for which, and the keys that machines use."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from marketplace.accounts.roles import ROLE_SCOPES, Role, Scope
from marketplace.common.ids import PublicIdField


class UserManager(BaseUserManager["User"]):
    """Looks people up by e-mail address, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.of_email(username or "").get()

    def of_email(self, email: str) -> models.QuerySet[User]:
        """The one person with this address, or nobody. In lower case, as the constraint has it: in upper case an
        address with a dotless i is that of somebody else."""
        return self.alias(lower=Lower("email")).filter(lower=Lower(models.Value(email)))

    def create_user(self, email: str, password: str | None = None, **columns: bool) -> User:
        """A person who signs in with e-mail and password."""
        user = User(email=self.normalize_email(email), **columns)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person. An operator runs this Fallow; everyone else acts for a firm."""

    public_id = PublicIdField("usr")
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_operator = models.BooleanField(default=False)
    must_change_password = models.BooleanField(default=False)  # somebody else has chosen it
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_any_case")]

    def __str__(self) -> str:
        return self.email


class Firm(models.Model):
    """The party that buys and sells. Countries are ISO 3166-1 alpha-2."""

    public_id = PublicIdField("firm")
    name = models.CharField(max_length=120)
    headquarters_country = models.CharField(max_length=2)
    ultimate_parent = models.CharField(max_length=120, blank=True)
    ultimate_parent_country = models.CharField(max_length=2)
    intended_use = models.CharField(max_length=500)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in a firm."""

    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="one_membership_per_person_and_firm", fields=["firm", "user"])]

    @property
    def scopes(self) -> frozenset[str]:
        return ROLE_SCOPES[self.role]


class Invitation(models.Model):
    """A role that a firm offers to somebody who has an account; it ends when it is answered or taken back.

    Nobody verifies e-mail addresses, so an account of that address may be a stranger's: the firm hands the code, of
    which only the hash is kept, to the person it means.
    """

    public_id = PublicIdField("inv")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="invitations")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="invitations")
    role = models.CharField(max_length=10, choices=Role)
    code_hash = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="one_invitation_per_person_and_firm", fields=["firm", "user"])]


class WrongPassword(models.Model):
    """A password that was tried and was not, or is not yet, found right. Of whom was named, known or not, there is
    only a hash; it goes when the right password comes."""

    person_hash = models.BinaryField(null=True)
    network = models.CharField(max_length=64)  # where it came from
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(name="wrong_password_of_person", fields=["person_hash", "at"]),
            models.Index(name="wrong_password_of_network", fields=["network", "at"]),
            models.Index(name="wrong_password_age", fields=["at"]),
        ]


class ApiKey(models.Model):
    """A key of a firm; only its hash is kept. `hint` is the beginning and the end, to recognise it by."""

    public_id = PublicIdField("key")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=80)
    key_hash = models.BinaryField(unique=True)
    hint = models.CharField(max_length=24)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope))
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
