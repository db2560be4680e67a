"""Payloads that together have every field of every operation, for what Prism holds against the official documents.

What ferryd is to make of the answer is said by `expect`, of Prism's own answer: the state of the command, and its error's code.
"""

SID = "0123456789abcdef" * 2
ADDRESS = {"line1": "1 Main St", "line2": "b", "city": "Köln", "postal_code": "50667", "state": "NRW", "country": "DE"}

CHARGE = {
    "amount": 1099,
    "currency": "EUR",
    "customer": "cus_1",
    "payment_method": "pm_1",
    "confirm": False,
    "capture_method": "manual",
    "confirmation_method": "automatic",
    "setup_future_usage": "off_session",
    "error_on_requires_action": True,
    "automatic_payment_methods": {"enabled": True},
    "description": "Ünï & co + 1 = 100 %",
    "metadata": {"order": "7", "note": "a&b=c"},
    "payment_method_types": ["card", "sepa_debit"],
    "payment_method_options": {"card": {"capture_method": "manual"}, "sepa_debit": {"setup_future_usage": "none"}},
    "payment_method_data": {
        "type": "sepa_debit",
        "sepa_debit": {"iban": "DE89370400440532013000"},
        "billing_details": {"name": "A", "email": "a@example.com", "address": ADDRESS},
    },
    "mandate": "mandate_1",
    "mandate_data": {
        "customer_acceptance": {"type": "online", "online": {"ip_address": "192.0.2.1", "user_agent": "x"}},
    },
    "receipt_email": "a@example.com",
    "return_url": "https://shop.example.com/back?a=1&b=2",
    "statement_descriptor": "SHOP 0123456789ABCDEFG",
    "statement_descriptor_suffix": "1099",
    "application_fee_amount": 10,
    "on_behalf_of": "acct_1",
    "transfer_data": {"destination": "acct_1", "amount": 3},
    "transfer_group": "g1",
    "radar_options": {"session": "rse_1"},
    "shipping": {"name": "A", "phone": "+49", "carrier": "DHL", "tracking_number": "1", "address": ADDRESS},
    "expand": ["latest_charge", "customer"],
}

MAIL = {
    "from": {"email": "a@example.com", "name": "A"},
    "reply_to": {"email": "r@example.com"},
    "subject": "Ünï",
    "personalizations": [
        {
            "to": [{"email": "b@example.com", "name": "B"}],
            "cc": [{"email": "c@example.com"}],
            "subject": "other",
            "custom_args": {"a": "1"},
            "send_at": 1_796_112_000,
        }
    ],
    "content": [{"type": "text/plain", "value": "hi"}, {"type": "text/html", "value": "<p>hi</p>"}],
    "template_id": "d-1",
    "attachments": [{"content": "aGk=", "filename": "a.txt", "type": "text/plain", "disposition": "attachment"}],
    "categories": ["a", "b"],
    "headers": {"X-Order": "7"},
    "custom_args": {"order": "7"},
    "send_at": 1_796_112_000,
    "batch_id": "b1",
    "asm": {"group_id": 1, "groups_to_display": [1, 2]},
    "ip_pool_name": "pool",
    "mail_settings": {"sandbox_mode": {"enable": True}, "footer": {"enable": True, "text": "t", "html": "h"}},
    "tracking_settings": {"click_tracking": {"enable": True, "enable_text": False}},
}

MESSAGE = {
    "channel": "C1",
    "text": "Hi ü",
    "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}}],
    "attachments": [{"text": "a", "color": "#ff0000"}],
    "thread_ts": "1503435956.000247",
    "reply_broadcast": True,
    "username": "shop",
    "icon_emoji": ":tada:",
    "icon_url": "https://a.example.com/i.png",
    "mrkdwn": True,
    "parse": "full",
    "link_names": True,
    "unfurl_links": False,
    "unfurl_media": False,
    "metadata": {"event_type": "order", "event_payload": {"id": "7"}},
}

SMS = {
    "to": "+15558675310",
    "from": "+15017122661",
    "messaging_service_sid": f"MG{SID}",
    "body": "Hi ü & +1 = 2",
    "media_urls": ["https://a.example.com/1.png?x=1&y=2", "https://a.example.com/2.png"],
    "content_sid": f"HX{SID}",
    "content_variables": '{"1": "x"}',
    "status_callback": "https://h.example.com/cb?cid=c1",
    "validity_period": 36000,
    "max_price": 0.25,
    "smart_encoded": True,
    "shorten_urls": True,
}

# provider, operation, payload
PAYLOADS = [
    ("stripe", "charge", CHARGE),
    ("stripe", "charge", {"amount": 1, "currency": "eur", "confirm": True, "off_session": True, "payment_method": "pm_1"}),
    ("stripe", "charge", {"amount": 1, "currency": "eur", "confirm": True, "off_session": "recurring"}),
    ("stripe", "charge", {"amount": 1, "currency": "eur", "capture_method": "automatic_async"}),
    ("stripe", "cancel", {"payment_intent": "pi_1", "reason": "requested_by_customer"}),
    ("stripe", "cancel", {"payment_intent": "pi_1"}),
    ("stripe", "retrieve", {"payment_intent": "pi_1", "expand": ["latest_charge", "customer"]}),
    (
        "stripe",
        "refund",
        {
            "payment_intent": "pi_1",
            "amount": 500,
            "reason": "requested_by_customer",
            "metadata": {"order": "7"},
            "refund_application_fee": True,
            "reverse_transfer": False,
            "expand": ["charge"],
        },
    ),
    ("stripe", "refund", {"charge": "ch_1", "metadata": ""}),
    ("twilio", "send_sms", SMS),
    ("twilio", "send_sms", {"to": "+15558675310", "messaging_service_sid": f"MG{SID}", "body": "x", "smart_encoded": False}),
    ("twilio", "fetch", {"sid": f"SM{SID}"}),
    ("sendgrid", "send_mail", MAIL),
    ("sendgrid", "send_mail", {"from": {"email": "a@example.com"}, "personalizations": [{"to": [{"email": "b@example.com"}]}], "template_id": "d-1"}),
    ("slack", "post_message", MESSAGE),
    ("slack", "post_message", {"channel": "C1", "attachments": [{"text": "a"}], "parse": "none"}),
]
