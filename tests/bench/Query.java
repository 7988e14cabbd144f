import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.config.ConfigService;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Properties;

/**
 * What query.c does, with the official client: HOST:PORT USER PASSWORD NAMESPACE GROUP DATA_ID THREADS CALLS.
 *
 * <p>The warm-up is longer, for the compiler of the JVM.
 */
public class Query {
	private static final int WARM_UP_CALLS = 1500;

	public static void main(String[] arguments) throws Exception {
		PrintStream out = System.out;
		System.setOut(System.err);
		Properties properties = new Properties();
		properties.setProperty("serverAddr", arguments[0]);
		properties.setProperty("username", arguments[1]);
		properties.setProperty("password", arguments[2]);
		properties.setProperty("namespace", arguments[3]);
		ConfigService service = NacosFactory.createConfigService(properties);
		int threads = Integer.parseInt(arguments[6]);
		int callsPerThread = Integer.parseInt(arguments[7]) / threads;
		for (int i = 0; i < WARM_UP_CALLS; i++) {
			query(service, arguments);
		}
		long[] times = new long[threads * callsPerThread];
		Thread[] all = new Thread[threads];
		long processor = processorTime();
		long begun = System.nanoTime();
		for (int i = 0; i < threads; i++) {
			int first = i * callsPerThread;
			all[i] = new Thread(() -> {
				for (int j = first; j < first + callsPerThread; j++) {
					long started = System.nanoTime();
					query(service, arguments);
					times[j] = System.nanoTime() - started;
				}
			});
			all[i].start();
		}
		for (Thread thread : all) {
			thread.join();
		}
		double seconds = (System.nanoTime() - begun) / 1e9;
		processor = processorTime() - processor;
		Arrays.sort(times);
		out.printf("%.0f %d %d %d%n", times.length / seconds, times[times.length / 2] / 1000,
				times[times.length * 99 / 100] / 1000, processor / 1000 / times.length);
		out.flush();
		System.exit(0);
	}

	private static void query(ConfigService service, String[] arguments) {
		try {
			if (service.getConfig(arguments[5], arguments[4], 20000) == null) {
				throw new IllegalStateException("no config");
			}
		} catch (Exception failure) {
			failure.printStackTrace();
			System.exit(1);
		}
	}

	private static long processorTime() {
		return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
				.getProcessCpuTime();
	}
}
