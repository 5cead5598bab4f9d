import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Runs many commands of the JDK's own tools in one virtual machine, because starting one costs more than the work. Each
 * line of the file is one command, its words parted by tabs. Prints for each one line: the exit status and what it said.
 */
@SuppressWarnings("removal")
public class Batch {
    /** A tool that wants to end the machine ends only itself. An Error, so that no tool catches it. */
    static class Exit extends Error {
        final int status;

        Exit(int status) {
            super(null, null, false, false);
            this.status = status;
        }
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = System.out;
        PrintStream err = System.err;
        System.setSecurityManager(new SecurityManager() {
            @Override
            public void checkPermission(java.security.Permission permission) {}

            @Override
            public void checkExit(int status) {
                throw new Exit(status);
            }
        });
        StringBuilder answers = new StringBuilder();
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            String[] words = line.split("\t");
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            PrintStream both = new PrintStream(said, true, StandardCharsets.UTF_8);
            System.setOut(both);
            System.setErr(both);
            int status;
            try {
                status = run(words[0], Arrays.copyOfRange(words, 1, words.length));
            } catch (Exit exit) {
                status = exit.status;
            } catch (Throwable other) {
                other.printStackTrace(both);
                status = -1;
            }
            both.flush();
            String text = said.toString(StandardCharsets.UTF_8).replaceAll("\\s+", " ");
            answers.append(status).append('\t').append(text).append('\n');
        }
        System.setOut(out);
        System.setErr(err);
        out.print(answers);
        out.flush();
    }

    private static int run(String tool, String[] arguments) throws Exception {
        switch (tool) {
            case "jarsigner" -> new sun.security.tools.jarsigner.Main().run(arguments);
            case "keytool" -> sun.security.tools.keytool.Main.main(arguments);
            default -> {
                return java.util.spi.ToolProvider.findFirst(tool).orElseThrow().run(System.out, System.err, arguments);
            }
        }
        return 0;
    }
}
