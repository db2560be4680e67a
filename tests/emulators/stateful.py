"""Stripe's operations against emulators that remember: localstripe, which also sends webhooks, and stripe-stateful-mock."""

import json
from http.client import HTTPConnection
from urllib.parse import urlencode

from stage import wait_for

SECRET = "whsec_emulators_0123456789"
ENDED = ("completed", "failed")


def ask(port, path, form, key="sk_test_123"):
    """A request of the test's own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", path, urlencode(form), headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status == 200, f"{path}: {response.status} {answer}"
    return json.loads(answer or b"null")


class Customer:
    """Publishes commands for one provider, and waits for what becomes of them."""

    def __init__(self, stage, provider):
        self.stage, self.provider = stage, provider

    def publish(self, name, operation, payload):
        command = f"{self.provider}.{name}"
        self.stage.publish([{
            "id": command, "type": "payment", "provider": self.provider, "operation": operation, "payload": payload,
        }])  # fmt: skip
        return command

    def carry(self, name, operation, payload, states=ENDED):
        return self.stage.await_event(self.publish(name, operation, payload), states)


def method(port, number):
    form = {"type": "card", "card[number]": number, "card[exp_month]": 4, "card[exp_year]": 2042, "card[cvc]": "123"}
    return ask(port, "/v1/payment_methods", form)["id"]


def notices(stage, command):
    """The webhooks about a command, as events show them."""
    events = [event for event in stage.events() if event["type"] == "ferry.webhook.received"]
    return [event["data"] for event in events if (event["data"].get("command") or {}).get("id") == command]


def hold_localstripe(stage, port, front, tally):
    endpoint = f"{stage.webhooks()}/webhooks/stripe-local"
    ask(port, "/_config/webhooks/ferryd", {"url": endpoint, "secret": SECRET})
    shop = Customer(stage, "stripe-local")
    charge = {"amount": 1099, "currency": "eur", "confirm": True}

    paid = shop.carry("paid", "charge", {**charge, "payment_method": method(port, "4242424242424242")})
    intent = paid.get("provider_reference")
    tally.expect(paid["state"] == "completed" and paid["result"]["status"] == "succeeded", f"localstripe: {paid}")
    tally.expect(paid["result"]["amount"] == 1099 and paid["result"]["currency"] == "eur", f"localstripe: {paid}")
    read = shop.carry("read", "retrieve", {"payment_intent": intent})
    tally.expect(read["state"] == "completed" and read["result"]["status"] == "succeeded", f"localstripe: {read}")
    back = shop.carry("back", "refund", {"payment_intent": intent, "amount": 500})
    tally.expect(back["state"] == "completed" and back["result"]["amount"] == 500, f"localstripe: {back}")

    declined = shop.carry("declined", "charge", {**charge, "payment_method": method(port, "4000000000000341")})
    error = declined.get("error") or {}
    tally.expect((error.get("kind"), error.get("code")) == ("declined", "card_declined"), f"localstripe: {declined}")

    opened = shop.carry("opened", "charge", {"amount": 700, "currency": "eur"})
    tally.expect(opened["result"]["status"] == "requires_payment_method", f"localstripe: {opened}")
    cancelled = shop.carry("cancelled", "cancel", {"payment_intent": opened["provider_reference"]})
    tally.expect(cancelled["state"] == "completed" and cancelled["result"]["status"] == "canceled", f"localstripe: {cancelled}")
    late = shop.carry("late", "cancel", {"payment_intent": intent})
    tally.expect(late["state"] == "failed", f"localstripe: {late}")
    hold_webhooks(stage, port, shop, charge, tally)
    tally.expect(all(call.headers.get("idempotency-key") for call in front.calls if call.method == "POST"), "localstripe: no key")


def hold_webhooks(stage, port, shop, charge, tally):
    """A customer who proves who they are, after which the payment is made, and localstripe reports it."""
    proving = {**charge, "payment_method": method(port, "4000002760003184")}
    waiting = shop.carry("proving", "charge", proving, ("waiting", *ENDED))
    tally.expect((waiting["state"], waiting.get("waiting_for")) == ("waiting", "customer"), f"localstripe: {waiting}")
    form = {"client_secret": waiting["result"]["client_secret"], "success": "true"}
    ask(port, f"/v1/payment_intents/{waiting['provider_reference']}/_authenticate", form)
    # A charge is queried every half a minute: what ends it sooner is the call.
    end = stage.await_event("stripe-local.proving", ENDED, "after the webhook")
    tally.expect(end["state"] == "completed" and end["result"]["amount"] == 1099, f"localstripe: {end}")
    received = wait_for("the webhook of localstripe as an event", lambda: notices(stage, "stripe-local.proving"), 15)
    tally.expect(received[0]["verified"] and received[0]["event"] == "payment_intent.succeeded", f"localstripe: {received}")

    # The same call under another secret is refused.
    endpoint = f"{stage.webhooks()}/webhooks/stripe-local"
    ask(port, "/_config/webhooks/ferryd", {"url": endpoint, "secret": "whsec_another_0123456789"})
    shop.carry("forged", "charge", {**charge, "payment_method": method(port, "4242424242424242")})
    refused = 'webhook "payment_intent.succeeded" failed with response code 401'
    wait_for("a webhook of localstripe that is refused", lambda: refused in stage.log("localstripe"), 15)
    tally.expect(not notices(stage, "stripe-local.forged"), "localstripe: a call under another secret was taken")


def hold_stateful(stage, port, front, tally):
    """Refunds of a charge until nothing is left, and a command that is published twice."""
    shop = Customer(stage, "stripe-stateful")
    made = ask(port, "/v1/charges", {"amount": 1000, "currency": "usd", "source": "tok_visa"})
    part = shop.carry("part", "refund", {"charge": made["id"], "amount": 400, "reason": "requested_by_customer"})
    tally.expect(part["state"] == "completed" and part["result"]["amount"] == 400, f"stripe-stateful-mock: {part}")
    shop.publish("part", "refund", {"charge": made["id"], "amount": 400, "reason": "requested_by_customer"})
    much = shop.carry("much", "refund", {"charge": made["id"], "amount": 700})
    tally.expect(much["state"] == "failed" and much["error"]["kind"] == "rejected", f"stripe-stateful-mock: {much}")
    rest = shop.carry("rest", "refund", {"charge": made["id"], "metadata": {"order": "7"}})
    tally.expect(rest["state"] == "completed" and rest["result"]["amount"] == 600, f"stripe-stateful-mock: {rest}")
    again = shop.carry("again", "refund", {"charge": made["id"]})
    error = again.get("error") or {}
    expected = ("declined", "charge_already_refunded")
    tally.expect((error.get("kind"), error.get("code")) == expected, f"stripe-stateful-mock: {again}")
    keys = [call.headers.get("idempotency-key") for call in front.calls]
    tally.expect(len(keys) == len(set(keys)) == 4 and all(keys), f"stripe-stateful-mock: calls under the keys {keys}")
