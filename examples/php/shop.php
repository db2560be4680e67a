#!/usr/bin/env php
<?php

/**
 * A shop whose payments are made by ferryd: publishes commands to RabbitMQ, and acts on the events that come back.
 *
 *     php shop.php subscribe                         acts on events until Ctrl-C or SIGTERM
 *     php shop.php charge order-1001 1099 eur        publishes one command
 *     php shop.php charge order-1002 500 eur '{"card":"4242424242424242"}'     with more fields of the payload
 *
 * AMQP_URI names the broker, FERRY_PREFIX ferryd's prefix (ferry), PROVIDER who is paid (acme-pay), SHOP_DB the database.
 */

declare(strict_types=1);

require __DIR__ . '/vendor/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Connection\AMQPConnectionFactory;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

const QUEUE = 'shop.payments';
const STATES = ['waiting', 'completed', 'failed', 'conflict'];
const PREFETCH = 20;
const PAUSES = [1, 2, 4, 8, 15, null]; // seconds between attempts to publish; null gives up
const CONFIRM_TIMEOUT = 30;
const NOT_FOUND = 404;

function setting(string $name, string $otherwise): string
{
    return getenv($name) ?: $otherwise;
}

function exchange(string $name): string
{
    return setting('FERRY_PREFIX', 'ferry') . '.' . $name;
}

function connect(): AbstractConnection
{
    $uri = parse_url(setting('AMQP_URI', 'amqp://guest:guest@localhost:5672'));
    $secure = $uri['scheme'] === 'amqps';
    $config = new AMQPConnectionConfig();
    $config->setHost($uri['host']);
    $config->setPort($uri['port'] ?? ($secure ? 5671 : 5672));
    $config->setUser(urldecode($uri['user'] ?? 'guest'));
    $config->setPassword(urldecode($uri['pass'] ?? 'guest'));
    $config->setVhost(urldecode(substr($uri['path'] ?? '', 1)) ?: '/');
    $config->setIsSecure($secure);
    $config->setHeartbeat(10);
    $config->setConnectionTimeout(10);
    $config->setReadTimeout(30);
    $config->setWriteTimeout(30);
    $config->setChannelRPCTimeout(10);
    return AMQPConnectionFactory::create($config);
}

function close(?AbstractConnection $connection): void
{
    try {
        $connection?->close();
    } catch (Exception) {
        // It was lost before.
    }
}

function complain(string $line): void
{
    fwrite(STDERR, $line . PHP_EOL);
}

// --- commands --------------------------------------------------------------------------------------------------------

/** A reason for which publishing again would be of no use. */
final class Undeliverable extends Exception
{
}

/** A command that is not confirmed, or perhaps not. */
final class Unconfirmed extends Exception
{
}

/**
 * The command that charges an order. Its id is made of the order and never by chance: a process that publishes it again, for whatever
 * reason, means the same charge, and ferryd carries out an id once.
 */
function chargeCommand(string $order, int $amount, string $currency, array $more): array
{
    return [
        'id' => "shop.$order.charge",
        'type' => 'payment',
        'provider' => setting('PROVIDER', 'acme-pay'),
        'operation' => 'charge',
        'reference' => $order,
        'payload' => ['amount' => $amount, 'currency' => $currency] + $more,
    ];
}

/** Publishes a command and returns when the broker has confirmed it: from then on it ends in an event. */
function publishOnce(array $command): void
{
    $connection = null;
    try {
        $connection = connect();
        $channel = $connection->channel();
        $refused = $returned = false;
        $channel->set_nack_handler(function () use (&$refused): void {
            $refused = true;
        });
        $channel->set_return_listener(function () use (&$returned): void {
            $returned = true; // before the confirm
        });
        $channel->confirm_select();
        $message = new AMQPMessage(json_encode($command, JSON_THROW_ON_ERROR), [
            'content_type' => 'application/json',
            'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
            'message_id' => $command['id'],
        ]);
        $key = "{$command['type']}.{$command['provider']}.{$command['operation']}";
        $channel->basic_publish($message, exchange('commands'), $key, mandatory: true);
        $channel->wait_for_pending_acks_returns(CONFIRM_TIMEOUT);
        if ($returned) {
            throw new Undeliverable('returned: no queue is bound to ' . exchange('commands'));
        }
        if ($refused) {
            throw new Unconfirmed('the broker refused it');
        }
    } catch (AMQPProtocolChannelException $error) {
        throw $error->getCode() === NOT_FOUND ? new Undeliverable($error->getMessage()) : $error;
    } catch (AMQPExceptionInterface $error) {
        throw new Unconfirmed('connection lost before the confirm (' . $error->getMessage() . ')', previous: $error);
    } finally {
        close($connection);
    }
}

/** Publishes a command, again under the same id where the broker refused it or it is unknown whether the broker has it. */
function publish(array $command): void
{
    foreach (PAUSES as $pause) {
        try {
            publishOnce($command);
            return;
        } catch (Undeliverable $error) {
            throw new Undeliverable($error->getMessage() . '; has ferryd run once?');
        } catch (Unconfirmed $error) {
            if ($pause === null) {
                throw new Undeliverable($error->getMessage() . '; giving up: run the same command again');
            }
            complain("{$command['id']}: {$error->getMessage()}; publishing again in $pause s");
            sleep($pause);
        }
    }
}

// --- events ----------------------------------------------------------------------------------------------------------

/** The shop's own database. A real shop has orders in it; what matters is that `events` lies beside them. */
function openDatabase(): PDO
{
    $database = new PDO('sqlite:' . setting('SHOP_DB', 'shop.db'));
    $database->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    $database->exec('CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, received_at TEXT DEFAULT CURRENT_TIMESTAMP)');
    $database->exec('CREATE TABLE IF NOT EXISTS payments (command TEXT PRIMARY KEY, sequence INTEGER NOT NULL, status TEXT NOT NULL)');
    return $database;
}

function execute(PDO $database, string $sql, mixed ...$values): PDOStatement
{
    $statement = $database->prepare($sql);
    $statement->execute($values);
    return $statement;
}

/** What an event means to the shop. `final` says that nothing can follow. */
function statusOf(array $data): string
{
    $why = ($data['error']['kind'] ?? '') . ': ' . ($data['error']['message'] ?? '');
    return match (true) {
        $data['state'] === 'completed' => 'paid (' . ($data['provider_reference'] ?? '') . ')',
        $data['state'] === 'waiting' => 'waiting for the ' . ($data['waiting_for'] ?? 'provider'),
        $data['final'] => "not paid: $why", // the order may be cancelled, or paid otherwise
        default => "undecided: $why", // an operator decides: neither ship nor charge again
    };
}

/** Does an event's work and notes that it is done; returns a line that says what was done. */
function work(PDO $database, array $event): string
{
    ['id' => $id, 'type' => $type, 'subject' => $command, 'data' => $data] = $event;
    if (execute($database, 'INSERT OR IGNORE INTO events (id) VALUES (?)', $id)->rowCount() === 0) {
        return "duplicate dropped: $id";
    }
    $order = $data['command']['reference'] ?? $command;
    if ($type === 'ferry.command.conflict') {
        return "$order: conflict, look at it: {$data['message']}";
    }
    $known = execute($database, 'SELECT sequence FROM payments WHERE command = ?', $command)->fetchColumn();
    if ($known !== false && $data['sequence'] < $known) {
        return "late event dropped: $id";
    }
    execute($database, 'REPLACE INTO payments VALUES (?, ?, ?)', $command, $data['sequence'], statusOf($data));
    return "$order: " . statusOf($data);
}

/** Acts on one event in one transaction, and acks it last: what is not acked comes again. */
function handle(PDO $database, AMQPMessage $message): void
{
    try {
        $database->beginTransaction();
        $line = work($database, json_decode($message->getBody(), true, flags: JSON_THROW_ON_ERROR));
        $database->commit();
    } catch (Throwable $error) {
        if ($database->inTransaction()) {
            $database->rollBack();
        }
        complain("event given back: {$error->getMessage()}");
        sleep(1);
        $message->reject(requeue: true);
        return;
    }
    echo $line, PHP_EOL;
    $message->ack();
}

/** Declares the shop's own queue: it outlives the shop, and a message that fails 20 deliveries is dead-lettered. */
function declareQueue(AMQPChannel $channel): void
{
    $quorum = ['x-queue-type' => 'quorum'];
    $channel->queue_declare(QUEUE . '.failed', durable: true, auto_delete: false, arguments: new AMQPTable($quorum));
    $channel->queue_declare(QUEUE, durable: true, auto_delete: false, arguments: new AMQPTable($quorum + [
        'x-delivery-limit' => 20,
        'x-dead-letter-exchange' => '',
        'x-dead-letter-routing-key' => QUEUE . '.failed',
    ]));
    foreach (STATES as $state) {
        $channel->queue_bind(QUEUE, exchange('events'), "payment.*.*.$state");
    }
}

/** Acts on events until the process is to stop, over as many connections as it takes. */
function subscribe(): void
{
    $database = openDatabase();
    $stopping = false;
    $channel = null;
    pcntl_async_signals(true);
    $stop = function () use (&$stopping, &$channel): void {
        $stopping = true;
        $channel?->stopConsume();
    };
    pcntl_signal(SIGTERM, $stop);
    pcntl_signal(SIGINT, $stop);
    while (!$stopping) {
        $connection = null;
        try {
            $connection = connect();
            $channel = $connection->channel();
            declareQueue($channel);
            $channel->basic_qos(0, PREFETCH, false);
            $channel->basic_consume(QUEUE, callback: fn (AMQPMessage $message) => handle($database, $message));
            echo 'subscribed: ', QUEUE, PHP_EOL;
            $channel->consume(maximumPoll: 1);
        } catch (AMQPExceptionInterface $error) {
            complain("connection lost ({$error->getMessage()}); subscribing again in 1 s");
            sleep(1);
        } finally {
            close($connection);
        }
    }
    echo 'stopped', PHP_EOL;
}

$arguments = array_slice($argv, 1);
if ($arguments === ['subscribe']) {
    subscribe();
} elseif (($arguments[0] ?? '') === 'charge' && count($arguments) >= 4) {
    [, $order, $amount, $currency] = $arguments;
    $command = chargeCommand($order, (int) $amount, $currency, json_decode($arguments[4] ?? '{}', true, flags: JSON_THROW_ON_ERROR));
    try {
        publish($command);
        echo $command['id'], ': confirmed', PHP_EOL;
    } catch (Undeliverable $error) {
        complain("{$command['id']}: {$error->getMessage()}");
        exit(1);
    }
} else {
    complain("usage: php shop.php subscribe | charge ORDER AMOUNT CURRENCY ['{…}']");
    exit(2);
}
