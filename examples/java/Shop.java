import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A shop whose payments are made by ferryd: publishes commands to RabbitMQ, and acts on the events that come back.
 *
 * <pre>
 * java -cp 'lib/*' Shop.java subscribe                       acts on events until Ctrl-C or SIGTERM
 * java -cp 'lib/*' Shop.java charge order-1001 1099 eur      publishes one command
 * java -cp 'lib/*' Shop.java charge order-1002 500 eur '{"card":"4242424242424242"}'     with more fields of the payload
 * </pre>
 *
 * AMQP_URI names the broker, FERRY_PREFIX ferryd's prefix (ferry), PROVIDER who is paid (acme-pay), SHOP_DB the database.
 */
public final class Shop {
    private static final String AMQP_URI = setting("AMQP_URI", "amqp://guest:guest@localhost:5672");
    private static final String PREFIX = setting("FERRY_PREFIX", "ferry");
    private static final String PROVIDER = setting("PROVIDER", "acme-pay");
    private static final String DATABASE = setting("SHOP_DB", "shop.db");

    private static final String QUEUE = "shop.payments";
    private static final List<String> STATES = List.of("waiting", "completed", "failed", "conflict");
    private static final int PREFETCH = 20;
    private static final int[] PAUSES = {1, 2, 4, 8, 15, 0}; // seconds between attempts to publish; 0 gives up
    private static final long CONFIRM_TIMEOUT_MS = 30_000;
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        String verb = arguments.length == 0 ? "" : arguments[0];
        if (verb.equals("subscribe")) {
            subscribe();
        } else if (verb.equals("charge") && arguments.length >= 4) {
            String more = arguments.length > 4 ? arguments[4] : "{}";
            ObjectNode command = chargeCommand(arguments[1], Long.parseLong(arguments[2]), arguments[3], more);
            try {
                publish(command);
                System.out.println(command.get("id").asText() + ": confirmed");
            } catch (PublishException error) {
                System.err.println(command.get("id").asText() + ": " + error.getMessage());
                System.exit(1);
            }
        } else {
            System.err.println("usage: java -cp 'lib/*' Shop.java subscribe | charge ORDER AMOUNT CURRENCY ['{…}']");
            System.exit(2);
        }
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    private static Connection connect() throws IOException, TimeoutException {
        ConnectionFactory factory = new ConnectionFactory();
        try {
            factory.setUri(AMQP_URI);
        } catch (Exception error) {
            throw new IllegalArgumentException("AMQP_URI: " + error.getMessage(), error);
        }
        factory.setRequestedHeartbeat(10);
        factory.setAutomaticRecoveryEnabled(false); // both loops below see a lost connection, and know what was under way
        return factory.newConnection("shop");
    }

    // --- commands ----------------------------------------------------------------------------------------------------

    /** A command was not confirmed; {@code retriable} where publishing it again may help. */
    private static final class PublishException extends Exception {
        private static final long serialVersionUID = 1;
        private final boolean retriable;

        PublishException(String message, boolean retriable) {
            super(message);
            this.retriable = retriable;
        }
    }

    /**
     * Makes the command that charges an order. Its id is made of the order and never by chance: a process that publishes it again,
     * for whatever reason, means the same charge, and ferryd carries out an id once.
     */
    private static ObjectNode chargeCommand(String order, long amount, String currency, String more) throws IOException {
        ObjectNode command = JSON.createObjectNode();
        command.put("id", "shop." + order + ".charge");
        command.put("type", "payment");
        command.put("provider", PROVIDER);
        command.put("operation", "charge");
        command.put("reference", order);
        ObjectNode payload = command.putObject("payload");
        payload.put("amount", amount);
        payload.put("currency", currency);
        payload.setAll((ObjectNode) JSON.readTree(more));
        return command;
    }

    /** Publishes a command and returns when the broker has confirmed it: from then on it ends in an event. */
    private static void publishOnce(ObjectNode command) throws IOException, TimeoutException, InterruptedException, PublishException {
        String key = String.join(".", command.get("type").asText(), PROVIDER, command.get("operation").asText());
        AMQP.BasicProperties properties = MessageProperties.PERSISTENT_BASIC.builder()
                .contentType("application/json").messageId(command.get("id").asText()).build();
        try (Connection connection = connect(); Channel channel = connection.createChannel()) {
            AtomicBoolean returned = new AtomicBoolean();
            channel.addReturnListener(message -> returned.set(true)); // comes before the confirm
            channel.confirmSelect();
            channel.basicPublish(PREFIX + ".commands", key, true, properties, JSON.writeValueAsBytes(command));
            if (!channel.waitForConfirms(CONFIRM_TIMEOUT_MS)) {
                throw new PublishException("the broker refused it", true);
            }
            if (returned.get()) {
                throw new PublishException("returned: no queue is bound to " + PREFIX + ".commands; has ferryd run once?", false);
            }
        } catch (ShutdownSignalException error) {
            if (error.getReason() instanceof AMQP.Channel.Close close && close.getReplyCode() == AMQP.NOT_FOUND) {
                throw new PublishException(close.getReplyText() + "; has ferryd run once?", false);
            }
            throw error;
        }
    }

    /** Publishes a command, again under the same id where the broker refused it or it is unknown whether the broker has it. */
    private static void publish(ObjectNode command) throws PublishException, InterruptedException {
        for (int pause : PAUSES) {
            String problem;
            try {
                publishOnce(command);
                return;
            } catch (PublishException error) {
                if (!error.retriable) throw error;
                problem = error.getMessage();
            } catch (IOException | TimeoutException | ShutdownSignalException error) {
                problem = "connection lost before the confirm (" + error.getClass().getSimpleName() + ")";
            }
            if (pause == 0) throw new PublishException(problem + "; giving up: run the same command again", false);
            System.err.printf("%s: %s; publishing again in %d s%n", command.get("id").asText(), problem, pause);
            TimeUnit.SECONDS.sleep(pause);
        }
    }

    // --- events ------------------------------------------------------------------------------------------------------

    /** The shop's own database. A real shop has orders in it; what matters is that {@code events} lies beside them. */
    private static final class PaymentStore {
        private final java.sql.Connection database;

        PaymentStore() throws SQLException {
            database = DriverManager.getConnection("jdbc:sqlite:" + DATABASE);
            try (var statement = database.createStatement()) {
                statement.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, received_at TEXT DEFAULT CURRENT_TIMESTAMP)");
                statement.execute("CREATE TABLE IF NOT EXISTS payments "
                        + "(command TEXT PRIMARY KEY, sequence INTEGER NOT NULL, status TEXT NOT NULL)");
            }
            database.setAutoCommit(false);
        }

        /** Does an event's work and notes that it is done, in one transaction; returns a line that says what was done. */
        String apply(JsonNode event) throws SQLException {
            try {
                String line = work(event);
                database.commit();
                return line;
            } catch (SQLException | RuntimeException error) {
                database.rollback();
                throw error;
            }
        }

        private String work(JsonNode event) throws SQLException {
            String id = event.required("id").asText();
            if (update("INSERT OR IGNORE INTO events (id) VALUES (?)", id) == 0) return "duplicate dropped: " + id;
            String command = event.required("subject").asText();
            JsonNode data = event.required("data");
            String order = data.required("command").path("reference").asText(command);
            if (event.required("type").asText().equals("ferry.command.conflict")) {
                return order + ": conflict, look at it: " + data.path("message").asText();
            }
            long sequence = data.required("sequence").asLong();
            if (sequence < knownSequence(command)) return "late event dropped: " + id;
            String status = statusOf(data);
            update("REPLACE INTO payments VALUES (?, ?, ?)", command, sequence, status);
            return order + ": " + status;
        }

        private int update(String sql, Object... values) throws SQLException {
            try (PreparedStatement statement = database.prepareStatement(sql)) {
                for (int index = 0; index < values.length; index++) statement.setObject(index + 1, values[index]);
                return statement.executeUpdate();
            }
        }

        private long knownSequence(String command) throws SQLException {
            try (PreparedStatement statement = database.prepareStatement("SELECT sequence FROM payments WHERE command = ?")) {
                statement.setString(1, command);
                try (ResultSet rows = statement.executeQuery()) {
                    return rows.next() ? rows.getLong(1) : -1;
                }
            }
        }
    }

    /** Says what an event means to the shop. {@code final} says that nothing can follow. */
    private static String statusOf(JsonNode data) {
        String why = data.at("/error/kind").asText() + ": " + data.at("/error/message").asText();
        return switch (data.required("state").asText()) {
            case "completed" -> "paid (" + data.path("provider_reference").asText() + ")";
            case "waiting" -> "waiting for the " + data.path("waiting_for").asText("provider");
            // Final: the order may be cancelled, or paid otherwise. Else an operator decides: neither ship nor charge again.
            default -> (data.required("final").asBoolean() ? "not paid: " : "undecided: ") + why;
        };
    }

    /** Declares the shop's own queue: it outlives the shop, and a message that fails 20 deliveries is dead-lettered. */
    private static void declareQueue(Channel channel) throws IOException {
        channel.queueDeclare(QUEUE + ".failed", true, false, false, Map.of("x-queue-type", "quorum"));
        channel.queueDeclare(QUEUE, true, false, false, Map.of(
                "x-queue-type", "quorum",
                "x-delivery-limit", 20,
                "x-dead-letter-exchange", "",
                "x-dead-letter-routing-key", QUEUE + ".failed"));
        for (String state : STATES) channel.queueBind(QUEUE, PREFIX + ".events", "payment.*.*." + state);
    }

    /** Acts on one event, and acks it last: what is not acked comes again. */
    private static void handle(PaymentStore store, Channel channel, Delivery delivery) throws IOException {
        long tag = delivery.getEnvelope().getDeliveryTag();
        try {
            String line = store.apply(JSON.readTree(delivery.getBody()));
            System.out.println(line);
        } catch (SQLException | IOException | RuntimeException error) {
            System.err.println("event given back: " + error);
            pause(1);
            channel.basicReject(tag, true);
            return;
        }
        channel.basicAck(tag, false);
    }

    /** Acts on events over one connection, until that ends. */
    private static String subscribeOnce(PaymentStore store) throws IOException, TimeoutException, InterruptedException, ExecutionException {
        CompletableFuture<String> ended = new CompletableFuture<>();
        try (Connection connection = connect()) {
            connection.addShutdownListener(reason -> ended.complete(reason.getMessage()));
            Channel channel = connection.createChannel();
            channel.addShutdownListener(reason -> ended.complete(reason.getMessage()));
            declareQueue(channel);
            channel.basicQos(PREFETCH);
            channel.basicConsume(QUEUE, false,
                    (tag, delivery) -> handle(store, channel, delivery),
                    tag -> ended.complete("the queue was deleted"));
            System.out.println("subscribed: " + QUEUE);
            return ended.get();
        } catch (AlreadyClosedException error) { // by the end of the block: the connection was lost before
            return ended.getNow(error.getMessage());
        }
    }

    /** Acts on events until the process is to stop, over as many connections as it takes. */
    private static void subscribe() throws SQLException, InterruptedException, ExecutionException {
        PaymentStore store = new PaymentStore();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("stopped")));
        while (true) {
            String problem;
            try {
                problem = subscribeOnce(store);
            } catch (IOException | TimeoutException | ShutdownSignalException error) {
                problem = error.toString();
            }
            System.err.println("connection lost (" + problem + "); subscribing again in 1 s");
            pause(1);
        }
    }

    private static void pause(int seconds) {
        try {
            TimeUnit.SECONDS.sleep(seconds);
        } catch (InterruptedException stop) {
            Thread.currentThread().interrupt();
        }
    }
}
