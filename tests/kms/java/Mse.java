import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.config.ConfigService;
import com.alibaba.nacos.api.config.filter.IConfigFilterChain;
import com.alibaba.nacos.client.aliyun.AliyunConfigFilter;
import com.alibaba.nacos.client.config.filter.impl.ConfigRequest;
import com.alibaba.nacos.client.config.filter.impl.ConfigResponse;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Properties;

/**
 * Drives the official Nacos client for Java with its extension for encryption.
 *
 * <p>Arguments are client properties, name=value; `group` is the one group of all configs. Each line of standard input
 * is a command, with texts in hex, answered by one line, `ok ...` or `error REASON`:
 *
 * <ul>
 *   <li>`put DATA_ID TEXT` gives `ok`, `get DATA_ID` gives `ok TEXT`: the whole client, with the server of `serverAddr`;
 *   <li>`seal DATA_ID TEXT` gives `ok CONTENT DATA_KEY`, `open DATA_ID CONTENT DATA_KEY` gives `ok TEXT`: the
 *       extension alone, without a Nacos server; no data key is "-".
 * </ul>
 */
public class Mse {
	private static final IConfigFilterChain END = (request, response) -> { };
	private static final PrintStream OUT = System.out;
	private static final long TIMEOUT_MS = 10000;

	private final Properties properties;
	private AliyunConfigFilter filter;
	private ConfigService service;

	private Mse(Properties properties) {
		this.properties = properties;
	}

	public static void main(String[] arguments) throws Exception {
		// What libraries print must not be taken for an answer.
		System.setOut(System.err);
		Properties properties = new Properties();
		for (String argument : arguments) {
			properties.setProperty(argument.substring(0, argument.indexOf('=')),
					argument.substring(argument.indexOf('=') + 1));
		}
		Mse mse = new Mse(properties);
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			OUT.println(mse.answer(line.split(" ")));
			OUT.flush();
		}
		// The client's threads would go on.
		System.exit(0);
	}

	private String answer(String[] words) {
		try {
			switch (words[0]) {
			case "put":
				return put(words);
			case "get":
				return "ok " + toHex(service().getConfig(words[1], properties.getProperty("group"), TIMEOUT_MS));
			case "seal":
				return "ok " + seal(words);
			default:
				return "ok " + open(words);
			}
		} catch (Exception failure) {
			return "error " + String.valueOf(failure).replace('\n', ' ');
		}
	}

	private ConfigService service() throws Exception {
		if (service == null) {
			service = NacosFactory.createConfigService(properties);
		}
		return service;
	}

	private AliyunConfigFilter filter() {
		if (filter == null) {
			filter = new AliyunConfigFilter();
			filter.init(properties);
		}
		return filter;
	}

	private String put(String[] words) throws Exception {
		return service().publishConfig(words[1], properties.getProperty("group"), fromHex(words[2]))
				? "ok" : "error not published";
	}

	private String seal(String[] words) throws Exception {
		ConfigRequest request = new ConfigRequest();
		request.setDataId(words[1]);
		request.setGroup("DEFAULT_GROUP");
		request.setContent(fromHex(words[2]));
		filter().doFilter(request, null, END);
		String dataKey = request.getEncryptedDataKey();
		return request.getContent() + " " + (dataKey == null || dataKey.isEmpty() ? "-" : dataKey);
	}

	private String open(String[] words) throws Exception {
		ConfigResponse response = new ConfigResponse();
		response.setDataId(words[1]);
		response.setGroup("DEFAULT_GROUP");
		response.setContent(words[2]);
		response.setEncryptedDataKey(words[3].equals("-") ? null : words[3]);
		filter().doFilter(null, response, END);
		return toHex(response.getContent());
	}

	private static String toHex(String text) {
		StringBuilder hex = new StringBuilder();
		for (byte one : text.getBytes(StandardCharsets.UTF_8)) {
			hex.append(String.format("%02x", one));
		}
		return hex.toString();
	}

	private static String fromHex(String hex) {
		byte[] bytes = new byte[hex.length() / 2];
		for (int i = 0; i < bytes.length; i++) {
			bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
		}
		return new String(bytes, StandardCharsets.UTF_8);
	}
}
