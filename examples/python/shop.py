#!/usr/bin/env python3
"""A shop whose payments are made by ferryd: publishes commands to RabbitMQ, and acts on the events that come back.

    python shop.py subscribe                         acts on events until Ctrl-C or SIGTERM
    python shop.py charge order-1001 1099 eur        publishes one command
    python shop.py charge order-1002 500 eur '{"card":"4242424242424242"}'     with more fields of the payload

AMQP_URI names the broker, FERRY_PREFIX ferryd's prefix (ferry), PROVIDER who is paid (acme-pay), SHOP_DB the database.
"""

import json
import os
import signal
import sqlite3
import sys
import time

import pika
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, NackError, UnroutableError

AMQP_URI = os.environ.get("AMQP_URI", "amqp://guest:guest@localhost:5672")
PREFIX = os.environ.get("FERRY_PREFIX", "ferry")
PROVIDER = os.environ.get("PROVIDER", "acme-pay")
DATABASE = os.environ.get("SHOP_DB", "shop.db")

QUEUE = "shop.payments"
STATES = ("waiting", "completed", "failed", "conflict")
PREFETCH = 20
PAUSES = (1, 2, 4, 8, 15)  # seconds between attempts to publish


def connect():
    parameters = pika.URLParameters(AMQP_URI)
    parameters.heartbeat = 10
    parameters.blocked_connection_timeout = 30
    return pika.BlockingConnection(parameters)


# --- commands --------------------------------------------------------------------------------------------------------


def charge_command(order, amount, currency, more):
    """The command that charges an order.

    Its id is made of the order and never by chance: a process that publishes it again, for whatever reason, means the same charge,
    and ferryd carries out an id once.
    """
    return {
        "id": f"shop.{order}.charge",
        "type": "payment",
        "provider": PROVIDER,
        "operation": "charge",
        "reference": order,
        "payload": {"amount": amount, "currency": currency, **more},
    }


def publish_once(command):
    """Publishes a command and returns when the broker has confirmed it: from then on it ends in an event."""
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(
            exchange=f"{PREFIX}.commands",
            routing_key=f"{command['type']}.{command['provider']}.{command['operation']}",
            body=json.dumps(command).encode(),
            properties=pika.BasicProperties(
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent,
                message_id=command["id"],
            ),
            mandatory=True,
        )


def publish(command):
    """Publishes a command, again under the same id where the broker refused it or it is unknown whether the broker has it."""
    for pause in (*PAUSES, None):
        try:
            return publish_once(command)
        except UnroutableError:
            sys.exit(f"{command['id']}: returned: no queue is bound to {PREFIX}.commands; has ferryd run once?")
        except ChannelClosedByBroker as error:
            sys.exit(f"{command['id']}: {error.reply_text}; has ferryd run once?")
        except NackError:
            problem = "the broker refused it"
        except AMQPConnectionError as error:
            problem = f"connection lost before the confirm ({type(error).__name__})"
        if pause is None:
            sys.exit(f"{command['id']}: {problem}; giving up: run the same command again")
        print(f"{command['id']}: {problem}; publishing again in {pause} s", file=sys.stderr)
        time.sleep(pause)


# --- events ----------------------------------------------------------------------------------------------------------


def open_database():
    """The shop's own database. A real shop has orders in it; what matters is that `events` lies beside them."""
    database = sqlite3.connect(DATABASE)
    database.executescript("""
        CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, received_at TEXT DEFAULT CURRENT_TIMESTAMP);
        CREATE TABLE IF NOT EXISTS payments (command TEXT PRIMARY KEY, sequence INTEGER NOT NULL, status TEXT NOT NULL);
    """)
    return database


def status_of(data):
    """What an event means to the shop. `final` says that nothing can follow."""
    if data["state"] == "completed":
        return f"paid ({data.get('provider_reference')})"
    if data["state"] == "waiting":
        return f"waiting for the {data.get('waiting_for', 'provider')}"
    error = data.get("error", {})
    if data["final"]:
        return f"not paid: {error.get('kind')}: {error.get('message')}"  # the order may be cancelled, or paid otherwise
    return f"undecided: {error.get('kind')}: {error.get('message')}"  # an operator decides: neither ship nor charge again


def apply(database, event):
    """Does an event's work and notes that it is done, in one transaction; returns a line that says what was done."""
    with database:
        if not database.execute("INSERT OR IGNORE INTO events (id) VALUES (?)", (event["id"],)).rowcount:
            return f"duplicate dropped: {event['id']}"
        data, command = event["data"], event["subject"]
        order = data["command"].get("reference", command)
        if event["type"] == "ferry.command.conflict":
            return f"{order}: conflict, look at it: {data['message']}"
        known = database.execute("SELECT sequence FROM payments WHERE command = ?", (command,)).fetchone()
        if known and data["sequence"] < known[0]:
            return f"late event dropped: {event['id']}"
        database.execute("REPLACE INTO payments VALUES (?, ?, ?)", (command, data["sequence"], status_of(data)))
        return f"{order}: {status_of(data)}"


def declare_queue(channel):
    """The shop's own queue: it outlives the shop, and a message that fails 20 deliveries is dead-lettered."""
    channel.queue_declare(f"{QUEUE}.failed", durable=True, arguments={"x-queue-type": "quorum"})
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{QUEUE}.failed",
    }
    channel.queue_declare(QUEUE, durable=True, arguments=arguments)
    for state in STATES:
        channel.queue_bind(QUEUE, f"{PREFIX}.events", f"payment.*.*.{state}")


def subscribe():
    """Acts on events until the process is to stop, over as many connections as it takes."""
    database = open_database()

    def on_event(channel, delivery, _properties, body):
        try:
            line = apply(database, json.loads(body))
        except Exception as error:  # noqa: BLE001
            print(f"event given back: {error!r}", file=sys.stderr)
            channel.connection.sleep(1)
            channel.basic_reject(delivery.delivery_tag, requeue=True)
        else:
            print(line, flush=True)
            channel.basic_ack(delivery.delivery_tag)  # last: what is not acked comes again

    while True:
        try:
            with connect() as connection:
                channel = connection.channel()
                declare_queue(channel)
                channel.basic_qos(prefetch_count=PREFETCH)
                channel.basic_consume(QUEUE, on_event)
                print(f"subscribed: {QUEUE}", flush=True)
                channel.start_consuming()
        except AMQPConnectionError as error:
            print(f"connection lost ({type(error).__name__}); subscribing again in 1 s", file=sys.stderr)
            time.sleep(1)


def main(arguments):
    match arguments:
        case ["subscribe"]:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                subscribe()
            except KeyboardInterrupt:
                print("stopped", flush=True)
        case ["charge", order, amount, currency, *more] if len(more) < 2:
            command = charge_command(order, int(amount), currency, json.loads(more[0]) if more else {})
            publish(command)
            print(f"{command['id']}: confirmed")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
