// Runs the main methods of Kafka's own tools one after the other in one process, so that a check need not start a virtual machine
// for each: a JSON object per line in (`tool`, `arguments`, `input`), one per line out (`code`, `output`).

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

public class Tools {
    static Ended first;
    static final List<Runnable> HOOKS = new ArrayList<>();

    static class Ended extends Error {
        final int code;

        Ended(int code, String message) {
            super(message, null, false, false);
            this.code = code;
        }
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        ObjectMapper json = new ObjectMapper();
        Exit.setExitProcedure(Tools::end);
        Exit.setHaltProcedure(Tools::end);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode command = json.readTree(line);
            List<String> arguments = new ArrayList<>();
            command.get("arguments").forEach(argument -> arguments.add(argument.asText()));
            var said = new ByteArrayOutputStream();
            var stream = new PrintStream(said, true, StandardCharsets.UTF_8);
            System.setIn(new ByteArrayInputStream(command.get("input").asText().getBytes(StandardCharsets.UTF_8)));
            System.setOut(stream);
            System.setErr(stream);
            int code = run(command.get("tool").asText(), arguments.toArray(String[]::new), stream);
            stream.flush();
            out.println(json.createObjectNode().put("code", code).put("output", said.toString(StandardCharsets.UTF_8)));
        }
        Runtime.getRuntime().halt(0);
    }

    // Some tools catch what ends them and end again: what they said first counts.
    static void end(int code, String message) {
        Ended ended = new Ended(code, message);
        first = first == null ? ended : first;
        throw ended;
    }

    static int run(String tool, String[] arguments, PrintStream stream) throws Exception {
        first = null;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException error) {
            if (first == null) {
                error.getCause().printStackTrace(stream);
                return 1;
            }
        }
        HOOKS.forEach(Runnable::run);
        HOOKS.clear();
        if (first != null && first.getMessage() != null) {
            stream.println(first.getMessage());
        }
        return first == null ? 0 : first.code;
    }
}
