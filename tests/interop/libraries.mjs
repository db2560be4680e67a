// The providers' libraries for Node.js, one question a line: {"ask": "stripe.sign", …} is answered by {"answer": …}.
// An exception of a library is its "no": {"answer": false}.

import readline from 'node:readline';
import { sign as githubSign, verify as githubVerify } from '@octokit/webhooks-methods';
import '@shopify/shopify-api/adapters/node';
import { LogSeverity, shopifyApi } from '@shopify/shopify-api';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import twilio from 'twilio';

const stripe = new Stripe('sk_test_1');

const shopify = (secret) =>
  shopifyApi({
    apiKey: 'key',
    apiSecretKey: secret,
    apiVersion: '2026-10',
    hostName: 'shop.example.com',
    isEmbeddedApp: true,
    logger: { log: () => {}, level: LogSeverity.Error },
  });

const questions = {
  'github.sign': ({ secret, body }) => githubSign(secret, body),
  'github.verify': ({ secret, body, headers }) => githubVerify(secret, body, headers['x-hub-signature-256']),
  'shopify.verify': async ({ secret, body, headers, url }) => {
    const rawRequest = { method: 'POST', url, headers };
    return (await shopify(secret).webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} })).valid;
  },
  'standard.sign': ({ secret, id, at, body }) => new Webhook(secret).sign(id, new Date(at * 1000), body),
  'standard.verify': ({ secret, body, headers }) => new Webhook(secret).verify(body, headers) !== undefined,
  'stripe.sign': ({ secret, at, body }) =>
    stripe.webhooks.generateTestHeaderString({ secret, timestamp: at, payload: body }),
  'stripe.verify': ({ secret, body, headers }) =>
    stripe.webhooks.constructEvent(body, headers['stripe-signature'], secret) !== undefined,
  'twilio.sign': ({ secret, url, parameters }) => twilio.getExpectedTwilioSignature(secret, url, parameters),
  'twilio.verify': ({ secret, url, parameters, body, headers }) =>
    parameters === null
      ? twilio.validateRequestWithBody(secret, headers['x-twilio-signature'], url, body)
      : twilio.validateRequest(secret, headers['x-twilio-signature'], url, parameters),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = await questions[question.ask](question);
  } catch {
    answer = false;
  }
  process.stdout.write(`${JSON.stringify({ answer })}\n`);
}
