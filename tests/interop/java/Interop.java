// The Java client's part of the check: sends the common content, or prints what a topic holds.

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Interop {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("produce")) {
            for (String codec : args[4].split(",")) {
                for (String acks : args[5].split(",")) {
                    produce(args[1], args[2], Integer.parseInt(args[3]), codec, acks);
                }
            }
        } else {
            consume(args[1], args[2]);
        }
    }

    static void produce(String broker, String topic, int count, String codec, String acks) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", broker);
        settings.put("compression.type", codec);
        settings.put("acks", acks);
        settings.put("enable.idempotence", String.valueOf(acks.equals("all")));
        settings.put("linger.ms", "2");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                String key = "java/" + codec + "/" + acks + "/" + number;
                String value = key + "|" + "x".repeat(number * 97 % 1500);
                sent.add(producer.send(new ProducerRecord<>(topic, key, value)));
            }
            for (Future<RecordMetadata> future : sent) {
                future.get();
            }
        }
    }

    static void consume(String broker, String topic) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", broker);
        settings.put("enable.auto.commit", "false");
        settings.put("isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(found -> partitions.add(new TopicPartition(topic, found.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            StringBuilder text = new StringBuilder();
            long deadline = System.nanoTime() + 30_000_000_000L;
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the end was not reached");
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                    text.append(record.partition()).append(' ').append(record.offset()).append(' ');
                    text.append(record.key()).append(' ').append(record.value()).append('\n');
                }
            }
            System.out.print(text);
        }
    }
}
