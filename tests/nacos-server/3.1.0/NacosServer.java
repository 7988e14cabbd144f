import com.alibaba.nacos.NacosServerBasicApplication;
import com.alibaba.nacos.NacosServerWebApplication;
import com.alibaba.nacos.console.NacosConsole;
import com.alibaba.nacos.core.listener.startup.NacosStartUp;
import com.alibaba.nacos.core.listener.startup.NacosStartUpManager;
import com.alibaba.nacos.sys.env.DeploymentType;
import com.alibaba.nacos.sys.env.EnvUtil;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;

/** Nacos 3.1.0 with its console in one process; does what the (unpublished) bootstrap module does. */
public class NacosServer {

    public static void main(String[] args) {
        // A test server must not outlive the test run that started it, however that run ends.
        Long owner = Long.getLong("nacosfs.owner.pid");
        if (owner != null) {
            ProcessHandle.of(owner).orElseThrow().onExit().thenRun(() -> Runtime.getRuntime().halt(0));
        }

        // Said twice, because the server asks EnvUtil and the console's bean conditions ask the property.
        EnvUtil.setDeploymentType(DeploymentType.MERGED);
        System.setProperty("nacos.deployment.type", DeploymentType.MERGED.getTypeName());

        try {
            startServerAndConsole(args);
        } catch (RuntimeException e) {
            // Threads of the contexts that did start would keep a half-started server alive.
            e.printStackTrace();
            System.exit(1);
        }
    }

    private static void startServerAndConsole(String[] args) {
        // Each phase must be announced before its context is built: the start-up listeners act on the current phase.
        NacosStartUpManager.start(NacosStartUp.CORE_START_UP_PHASE);
        ConfigurableApplicationContext core = new SpringApplicationBuilder(NacosServerBasicApplication.class)
                .web(WebApplicationType.NONE).run(args);

        NacosStartUpManager.start(NacosStartUp.WEB_START_UP_PHASE);
        new SpringApplicationBuilder(NacosServerWebApplication.class).parent(core).run(args);

        NacosStartUpManager.start(NacosStartUp.CONSOLE_START_UP_PHASE);
        new SpringApplicationBuilder(NacosConsole.class).parent(core).run(args);
    }
}
