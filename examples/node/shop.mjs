#!/usr/bin/env node
/**
 * A shop whose payments are made by ferryd: publishes commands to RabbitMQ, and acts on the events that come back.
 *
 *     node shop.mjs subscribe                         acts on events until Ctrl-C or SIGTERM
 *     node shop.mjs charge order-1001 1099 eur        publishes one command
 *     node shop.mjs charge order-1002 500 eur '{"card":"4242424242424242"}'     with more fields of the payload
 *
 * AMQP_URI names the broker, FERRY_PREFIX ferryd's prefix (ferry), PROVIDER who is paid (acme-pay), SHOP_DB the database.
 */

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import amqp from 'amqplib';
import Database from 'libsql';

const {
  AMQP_URI = 'amqp://guest:guest@localhost:5672',
  FERRY_PREFIX: PREFIX = 'ferry',
  PROVIDER = 'acme-pay',
  SHOP_DB = 'shop.db',
} = process.env;

const QUEUE = 'shop.payments';
const STATES = ['waiting', 'completed', 'failed', 'conflict'];
const PREFETCH = 20;
const PAUSES = [1, 2, 4, 8, 15]; // seconds between attempts to publish
const CONFIRM_TIMEOUT = 30_000;

const USAGE = "usage: node shop.mjs subscribe | charge ORDER AMOUNT CURRENCY ['{…}']";

/** Opens a connection. Whatever waits for something on it sees its end. */
async function connect() {
  const connection = await amqp.connect(AMQP_URI, { heartbeat: 10, timeout: 10_000 });
  connection.on('error', () => {});
  return connection;
}

const close = (connection) => connection.close().catch(() => {});

// --- commands --------------------------------------------------------------------------------------------------------

/** A reason for which publishing again would be of no use. */
class Undeliverable extends Error {}

/**
 * The command that charges an order. Its id is made of the order and never by chance: a process that publishes it again, for
 * whatever reason, means the same charge, and ferryd carries out an id once.
 */
function chargeCommand(order, amount, currency, more) {
  return {
    id: `shop.${order}.charge`,
    type: 'payment',
    provider: PROVIDER,
    operation: 'charge',
    reference: order,
    payload: { amount, currency, ...more },
  };
}

/** Publishes a command, and resolves when the broker has confirmed it: from then on it ends in an event. */
async function publishOnce(command) {
  const connection = await connect();
  try {
    const channel = await connection.createConfirmChannel();
    const lost = new Promise((_, reject) => {
      channel.on('error', (error) => reject(error.code === 404 ? new Undeliverable(error.message) : error));
      connection.on('close', (error) => reject(error ?? new Error('the connection was closed')));
    });
    const confirmed = new Promise((resolve, reject) => {
      // The broker returns a message before it confirms it.
      channel.on('return', () => reject(new Undeliverable(`returned: no queue is bound to ${PREFIX}.commands`)));
      channel.publish(
        `${PREFIX}.commands`,
        `${command.type}.${command.provider}.${command.operation}`,
        Buffer.from(JSON.stringify(command)),
        { contentType: 'application/json', persistent: true, messageId: command.id, mandatory: true },
        (refused) => (refused ? reject(new Error('the broker refused it')) : resolve()),
      );
    });
    const late = sleep(CONFIRM_TIMEOUT, null, { ref: false }).then(() => {
      throw new Error('no confirm came in time');
    });
    await Promise.race([confirmed, lost, late]);
  } finally {
    await close(connection);
  }
}

/** Publishes a command, again under the same id where the broker refused it or it is unknown whether the broker has it. */
async function publish(command) {
  for (const pause of [...PAUSES, null]) {
    try {
      return await publishOnce(command);
    } catch (error) {
      if (error instanceof Undeliverable) throw new Error(`${error.message}; has ferryd run once?`);
      if (pause === null) throw new Error(`${error.message}; giving up: run the same command again`);
      console.error(`${command.id}: ${error.message}; publishing again in ${pause} s`);
      await sleep(pause * 1000);
    }
  }
}

// --- events ----------------------------------------------------------------------------------------------------------

/** The shop's own database. A real shop has orders in it; what matters is that `events` lies beside them. */
function openDatabase() {
  const database = new Database(SHOP_DB);
  database.exec(`
    CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, received_at TEXT DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE IF NOT EXISTS payments (command TEXT PRIMARY KEY, sequence INTEGER NOT NULL, status TEXT NOT NULL);
  `);
  return database;
}

/** What an event means to the shop. `final` says that nothing can follow. */
function statusOf({ state, final, error, ...data }) {
  if (state === 'completed') return `paid (${data.provider_reference})`;
  if (state === 'waiting') return `waiting for the ${data.waiting_for ?? 'provider'}`;
  const why = `${error?.kind}: ${error?.message}`;
  // Final: the order may be cancelled, or paid otherwise. Else an operator decides: neither ship nor charge again.
  return final ? `not paid: ${why}` : `undecided: ${why}`;
}

/** Returns a function that does an event's work and notes that it is done, in one transaction, and says what it did. */
function worker(database) {
  const remember = database.prepare('INSERT OR IGNORE INTO events (id) VALUES (?)');
  const find = database.prepare('SELECT sequence FROM payments WHERE command = ?');
  const store = database.prepare('REPLACE INTO payments VALUES (?, ?, ?)');
  return database.transaction((event) => {
    const { id, type, subject: command, data } = event;
    if (remember.run(id).changes === 0) return `duplicate dropped: ${id}`;
    const order = data.command.reference ?? command;
    if (type === 'ferry.command.conflict') return `${order}: conflict, look at it: ${data.message}`;
    if (data.sequence < find.get(command)?.sequence) return `late event dropped: ${id}`;
    store.run(command, data.sequence, statusOf(data));
    return `${order}: ${statusOf(data)}`;
  });
}

/** Declares the shop's own queue: it outlives the shop, and a message that fails 20 deliveries is dead-lettered. */
async function declareQueue(channel) {
  const quorum = { 'x-queue-type': 'quorum' };
  await channel.assertQueue(`${QUEUE}.failed`, { durable: true, arguments: quorum });
  await channel.assertQueue(QUEUE, {
    durable: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: `${QUEUE}.failed`,
    arguments: { ...quorum, 'x-delivery-limit': 20 },
  });
  for (const state of STATES) await channel.bindQueue(QUEUE, `${PREFIX}.events`, `payment.*.*.${state}`);
}

/** Acts on events over one connection, until that ends. */
async function subscribeOnce(work, stopping) {
  const connection = await connect();
  const ended = once(connection, 'close', { signal: stopping });
  ended.catch(() => {}); // awaited below, and perhaps over before
  try {
    const channel = await connection.createChannel();
    channel.on('error', () => close(connection));
    await declareQueue(channel);
    await channel.prefetch(PREFETCH);
    await channel.consume(QUEUE, async (message) => {
      if (message === null) return close(connection); // the queue was deleted
      let done = true;
      try {
        console.log(work(JSON.parse(message.content)));
      } catch (error) {
        console.error(`event given back: ${error}`);
        done = false;
        await sleep(1000);
      }
      try {
        // Last: what is not acked comes again.
        if (done) channel.ack(message);
        else channel.reject(message, true);
      } catch {
        // The channel is closed, and the broker delivers the event again.
      }
    });
    console.log(`subscribed: ${QUEUE}`);
    const [error] = await ended;
    throw error ?? new Error('the connection was closed');
  } finally {
    await close(connection);
  }
}

/** Acts on events until the process is to stop, over as many connections as it takes. */
async function subscribe() {
  const work = worker(openDatabase());
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
  while (!stop.signal.aborted) {
    await subscribeOnce(work, stop.signal).catch(async (error) => {
      if (stop.signal.aborted) return;
      console.error(`connection lost (${error.message}); subscribing again in 1 s`);
      await sleep(1000, null, { signal: stop.signal }).catch(() => {});
    });
  }
  console.log('stopped');
}

const [verb, order, amount, currency, more = '{}'] = process.argv.slice(2);
if (verb === 'subscribe') {
  await subscribe();
} else if (verb === 'charge' && currency) {
  const command = chargeCommand(order, Number(amount), currency, JSON.parse(more));
  await publish(command).then(
    () => console.log(`${command.id}: confirmed`),
    (error) => {
      console.error(`${command.id}: ${error.message}`);
      process.exitCode = 1;
    },
  );
} else {
  console.error(USAGE);
  process.exitCode = 2;
}
