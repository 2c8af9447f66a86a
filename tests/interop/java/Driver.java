// The driver of the Java client (see ../drivers/README.md).

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    static String broker;

    public static void main(String[] args) throws Exception {
        broker = args[0];
        ObjectNode about = JSON.createObjectNode().put("name", "Java client").put("version", AppInfoParser.getVersion());
        about.set("codecs", JSON.valueToTree(List.of("none", "gzip", "snappy", "lz4", "zstd")));
        about.set("cannot", JSON.createArrayNode());
        System.out.println(about);
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            ObjectNode answer;
            try {
                answer = act(JSON.readTree(line));
            } catch (Exception error) {
                Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
                answer = JSON.createObjectNode().put("error", cause.toString());
            }
            System.out.println(answer);
        }
    }

    static ObjectNode act(JsonNode command) throws Exception {
        return switch (command.get("do").asText()) {
            case "create" -> create(command);
            case "delete" -> delete(command);
            case "produce" -> produce(command);
            case "consume" -> consume(command);
            case "search" -> search(command);
            default -> throw new IllegalArgumentException("no command " + command.get("do"));
        };
    }

    static Properties settings(String... pairs) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", broker);
        for (int at = 0; at < pairs.length; at += 2) {
            settings.put(pairs[at], pairs[at + 1]);
        }
        return settings;
    }

    static String text(JsonNode node) {
        return node.isNull() ? null : node.asText();
    }

    static ObjectNode create(JsonNode command) throws Exception {
        Map<String, String> configs = new HashMap<>();
        command.get("configs").fields().forEachRemaining(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        try (Admin admin = Admin.create(settings())) {
            NewTopic topic = new NewTopic(command.get("topic").asText(), command.get("partitions").asInt(), (short) 1);
            admin.createTopics(List.of(topic.configs(configs))).all().get(20, TimeUnit.SECONDS);
        }
        return JSON.createObjectNode();
    }

    static ObjectNode delete(JsonNode command) throws Exception {
        try (Admin admin = Admin.create(settings())) {
            admin.deleteTopics(List.of(command.get("topic").asText())).all().get(20, TimeUnit.SECONDS);
        }
        return JSON.createObjectNode();
    }

    static ObjectNode produce(JsonNode command) throws Exception {
        String acks = command.get("acks").asText();
        Properties settings = settings(
            "compression.type", command.get("codec").asText(), "acks", acks, "enable.idempotence", String.valueOf(acks.equals("all")),
            "linger.ms", "2", "max.request.size", "20000000", "buffer.memory", "40000000", "delivery.timeout.ms", "20000",
            "request.timeout.ms", "10000");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode each : command.get("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode pair : each.get("headers")) {
                    headers.add(new RecordHeader(pair.get(0).asText(), pair.get(1).asText().getBytes(StandardCharsets.UTF_8)));
                }
                Long timestamp = each.get("timestamp").isNull() ? null : each.get("timestamp").asLong();
                sent.add(producer.send(new ProducerRecord<>(
                    command.get("topic").asText(), each.get("partition").asInt(), timestamp, text(each.get("key")), text(each.get("value")),
                    headers)));
            }
            for (Future<RecordMetadata> future : sent) {
                future.get(25, TimeUnit.SECONDS);
            }
        }
        return JSON.createObjectNode();
    }

    static KafkaConsumer<String, String> reader() {
        Properties settings = settings("enable.auto.commit", "false", "isolation.level", "read_committed", "auto.offset.reset", "none");
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static ObjectNode consume(JsonNode command) {
        try (var consumer = reader()) {
            Map<TopicPartition, Long> from = new HashMap<>();
            command.get("from").forEach(pair ->
                from.put(new TopicPartition(command.get("topic").asText(), pair.get(0).asInt()), pair.get(1).asLong()));
            consumer.assign(from.keySet());
            from.forEach(consumer::seek);
            ArrayNode records = JSON.createArrayNode();
            long deadline = System.nanoTime() + (long) (command.get("seconds").asDouble() * 1e9);
            while (records.size() < command.get("count").asInt() && System.nanoTime() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    ObjectNode found = records.addObject().put("partition", record.partition()).put("offset", record.offset());
                    found.put("timestamp", record.timestamp()).put("key", record.key()).put("value", record.value());
                    ArrayNode headers = found.putArray("headers");
                    for (Header header : record.headers()) {
                        headers.addArray().add(header.key()).add(new String(header.value(), StandardCharsets.UTF_8));
                    }
                }
            }
            ObjectNode answer = JSON.createObjectNode();
            answer.set("records", records);
            return answer;
        }
    }

    static ObjectNode search(JsonNode command) {
        try (var consumer = reader()) {
            TopicPartition partition = new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, command.get("timestamp").asLong())).get(partition);
            return JSON.createObjectNode().put("offset", found == null ? -1 : found.offset());
        }
    }
}
