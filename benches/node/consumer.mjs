// The Node.js consumer: the usual stack (amqplib, undici), and the promise of the minimal consumer: publish and
// confirm, then ack. It has none of ferryd's features.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import amqp from "amqplib";
import { Agent, request } from "undici";

const text = { type: "string" };
const { values: settings } = parseArgs({
  options: { "amqp-uri": text, queue: text, prefetch: text, url: text, "ca-file": text },
});
const prefetch = Number(settings.prefetch);
const provider = new Agent({
  connections: prefetch,
  pipelining: 1,
  connect: { ca: readFileSync(settings["ca-file"]), timeout: 10_000 },
  headersTimeout: 300_000,
  bodyTimeout: 300_000,
});

const [consuming, publishing] = await Promise.all([
  amqp.connect(settings["amqp-uri"]),
  amqp.connect(settings["amqp-uri"]),
]);
const events = await publishing.createConfirmChannel();
const commands = await consuming.createChannel();

async function call(id, payload) {
  const { statusCode, body } = await request(`${settings.url}/v1/charges`, {
    dispatcher: provider,
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: "Bearer sk_bench_51H8x2KZvq0",
      "idempotency-key": id,
    },
    body: JSON.stringify(payload),
  });
  const answer = await body.json();
  if (statusCode >= 400) throw new Error(`the provider answered ${statusCode}`);
  return answer;
}

function publish(id, event) {
  const properties = { persistent: true, contentType: "application/json", messageId: `${id}/completed` };
  return new Promise((resolve, reject) => {
    const body = Buffer.from(JSON.stringify(event));
    events.publish("ferry.events", "payment.bench.charge.completed", body, properties, (error) =>
      error ? reject(error) : resolve(),
    );
  });
}

async function carry(delivery) {
  const { id, payload, reference, metadata } = JSON.parse(delivery.content.toString());
  const answer = await call(id, payload);
  await publish(id, {
    id: `${id}/completed`,
    subject: id,
    time: new Date().toISOString(),
    reference,
    metadata,
    result: { id: answer.id, status: answer.status },
  });
  commands.ack(delivery);
}

await commands.prefetch(prefetch);
await commands.consume(settings.queue, (delivery) => {
  carry(delivery).catch((error) => console.error(error.message));
});
