import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchEvent;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;

/** Watches a directory with a WatchService, as Spring and others do, and prints "KIND NAME CONTENT" for each event. */
public final class Watch {
    public static void main(String[] arguments) throws Exception {
        Path directory = Path.of(arguments[0]);
        WatchService service = FileSystems.getDefault().newWatchService();
        directory.register(service, StandardWatchEventKinds.ENTRY_CREATE, StandardWatchEventKinds.ENTRY_MODIFY,
                StandardWatchEventKinds.ENTRY_DELETE);
        System.out.println("ready");
        for (;;) {
            WatchKey key = service.take();
            for (WatchEvent<?> event : key.pollEvents()) {
                Path file = directory.resolve((Path) event.context());
                String content = Files.exists(file) ? Files.readString(file).strip() : "";
                System.out.println(event.kind() + " " + event.context() + " " + content);
            }
            key.reset();
        }
    }
}
