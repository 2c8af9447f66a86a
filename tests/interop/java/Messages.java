// Reads messages as Kafka's own classes do and writes them again: each line of the file given is `KEY VERSION request|response HEX`.
// Prints how many there were; ends with an error at the first one that is not what Kafka would have written.

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.TreeMap;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class Messages {
    public static void main(String[] args) throws Exception {
        TreeMap<String, Integer> counts = new TreeMap<>();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] fields = line.split(" ", -1);
            short version = Short.parseShort(fields[1]);
            ApiMessageType type = ApiMessageType.fromApiKey(Short.parseShort(fields[0]));
            ApiMessage message = fields[2].equals("request") ? type.newRequest() : type.newResponse();
            byte[] bytes = HexFormat.of().parseHex(fields[3]);
            String name = type.name + " " + version + " " + fields[2];
            byte[] again;
            try {
                ByteBuffer input = ByteBuffer.wrap(bytes);
                message.read(new ByteBufferAccessor(input), version);
                if (input.hasRemaining()) {
                    throw new IllegalStateException(input.remaining() + " bytes are left");
                }
                ObjectSerializationCache cache = new ObjectSerializationCache();
                ByteBuffer output = ByteBuffer.allocate(message.size(cache, version));
                message.write(new ByteBufferAccessor(output), cache, version);
                again = output.array();
            } catch (RuntimeException error) {
                throw new IllegalStateException(name + ": " + error + "\n" + line, error);
            }
            if (!Arrays.equals(bytes, again)) {
                throw new IllegalStateException(name + " is written otherwise: " + message + "\n" + line + "\n" + HexFormat.of().formatHex(again));
            }
            counts.merge(name, 1, Integer::sum);
        }
        int all = counts.values().stream().mapToInt(Integer::intValue).sum();
        System.out.println(all + " messages of " + counts.size() + " kinds");
    }
}
