"""What may be asked of a node: which image, which variables, and how much of all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from marketplace.common.api import StrictSerializer

WORKLOAD_BYTES_MAX = 32 * 1024
VARIABLES_MAX = 64
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
PARTS = ("image", "command", "env", "ports", "disk_gib", "ssh_public_key")

# The grammar of github.com/distribution/reference: [host[:port]/]path[:tag][@digest], all of it ASCII.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"[a-zA-Z][a-zA-Z0-9]*(?:[-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}"
IMAGE = rf"\A(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::{_TAG})?(?:@{_DIGEST})?\Z"
IMAGE_WRONG = "give the image as host/name:tag, name:tag or name@sha256:…, with a name in lower case"


class ImageField(serializers.RegexField):
    """A container image's reference."""

    default_error_messages = {"invalid": IMAGE_WRONG}

    def __init__(self, **options: Any) -> None:
        super().__init__(IMAGE, max_length=300, **options)


class RegistryAuthShape(StrictSerializer):
    """How the node signs in to the image's registry; forgotten when the image is there."""

    username = serializers.CharField(max_length=4000, required=False, trim_whitespace=False)
    password = serializers.CharField(max_length=8000, required=False, trim_whitespace=False)
    identitytoken = serializers.CharField(max_length=8000, required=False, trim_whitespace=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "identitytoken" not in attrs and not {"username", "password"} <= set(attrs):
            raise serializers.ValidationError("give username and password, or an identitytoken")
        return dict(attrs)


def check_variables(env: Mapping[str, str]) -> None:
    """ValidationError unless every shell and every runtime can take these: a line of its own for each."""
    if len(env) > VARIABLES_MAX:
        raise serializers.ValidationError(f"at most {VARIABLES_MAX} variables")
    wrong = sorted(name for name in env if not VARIABLE.fullmatch(name))
    if wrong:
        raise serializers.ValidationError(dict.fromkeys(wrong, "a name is letters, digits and _, no digit first"))
    if broken := sorted(name for name, value in env.items() if "\n" in value or "\r" in value):
        raise serializers.ValidationError(dict.fromkeys(broken, "a value is one line; encode what has more"))


def workload_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an order that the node gets."""
    return {name: values[name] for name in PARTS if values.get(name) is not None}


def check_size(values: Mapping[str, Any]) -> None:
    """ValidationError when the node would get too much."""
    if len(json.dumps(workload_of(values), ensure_ascii=False).encode()) > WORKLOAD_BYTES_MAX:
        raise serializers.ValidationError(f"image, command and env are at most {WORKLOAD_BYTES_MAX} bytes together")
