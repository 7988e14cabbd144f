import com.alibaba.nacos.Nacos;

/** Nacos 1.4.1, the whole release; the launcher only adds its end. */
public class NacosServer {

    public static void main(String[] args) {
        // A test server must not outlive the test run that started it, however that run ends.
        Long owner = Long.getLong("nacosfs.owner.pid");
        if (owner != null) {
            ProcessHandle.of(owner).orElseThrow().onExit().thenRun(() -> Runtime.getRuntime().halt(0));
        }
        try {
            Nacos.main(args);
        } catch (RuntimeException e) {
            // Threads of the parts that did start would keep a half-started server alive.
            e.printStackTrace();
            System.exit(1);
        }
    }
}
