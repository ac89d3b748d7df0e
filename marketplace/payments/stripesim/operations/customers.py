"""Customers and their saved cards."""

from __future__ import annotations

from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.state.store import Object, new_id

FIELDS = "address description email name phone preferred_locales shipping"


@operation("POST /v1/customers", f"{FIELDS} metadata")
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/customers/create"""
    key = new_id("cus")
    customer: Object = {
        "id": key, "object": "customer", "created": call.world.clock.now(), "livemode": False, "balance": 0,
        "currency": None, "default_source": None, "delinquent": False, "discount": None,
        "invoice_prefix": key[-8:].upper(), "next_invoice_sequence": 1, "tax_exempt": "none", "test_clock": None,
        "preferred_locales": [], "metadata": {},
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None
        },
    }  # fmt: skip
    customer |= {name: call.params.get(name) for name in FIELDS.split() if name != "preferred_locales"}
    merge_metadata(customer, call.params)
    call.world.store.add(customer, account=call.account)
    call.world.emit("customer.created", customer, account=call.account)
    return customer


@operation("POST /v1/customers/{}", f"{FIELDS} metadata invoice_settings")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/customers/update"""
    store = call.world.store
    store.get("customer", call.args[0], account=call.account)
    customer = store.edit(call.args[0])
    customer |= {name: value or None for name, value in call.params.items() if name in FIELDS.split()}
    default = call.params.get("invoice_settings", {}).get("default_payment_method")
    if default:
        store.get("payment_method", default, account=call.account, param="invoice_settings[default_payment_method]")
        customer["invoice_settings"]["default_payment_method"] = default
    merge_metadata(customer, call.params)
    call.world.emit("customer.updated", customer, account=call.account)
    return customer


@operation("GET /v1/customers/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/customers/retrieve"""
    return call.world.store.get("customer", call.args[0], account=call.account)


@operation("GET /v1/customers", f"{PAGED} email")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/customers/list"""
    mine = (each for each in call.world.store.of_kind("customer") if each["_account"] == call.account)
    return page(mine, call.params, call.url)


@operation("DELETE /v1/customers/{}")
def delete(call: Call) -> Object:
    """https://docs.stripe.com/api/customers/delete"""
    customer = retrieve(call)
    call.world.store.remove(customer["id"])
    call.world.emit("customer.deleted", customer, account=call.account)
    return {"id": customer["id"], "object": "customer", "deleted": True}


@operation("GET /v1/customers/{}/payment_methods", f"{PAGED} type allow_redisplay")
def list_methods(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/customer_list"""
    retrieve(call)
    methods = (each for each in call.world.store.of_kind("payment_method") if each["customer"] == call.args[0])
    return page(methods, call.params, call.url)


@operation("GET /v1/customers/{}/payment_methods/{}")
def retrieve_method(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/customer"""
    retrieve(call)
    method = call.world.store.get("payment_method", call.args[1], account=call.account)
    return method if method["customer"] == call.args[0] else call.world.store.get("payment_method", "another's")
