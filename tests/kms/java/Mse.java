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
 * Drives the encryption filter of the official Nacos client for Java, as its config service does, without a Nacos server.
 *
 * <p>Arguments are client properties, name=value. Each line of standard input is a command, with texts in hex:
 * `seal DATA_ID TEXT` gives `ok CONTENT DATA_KEY`, `open DATA_ID CONTENT DATA_KEY` gives `ok TEXT`; no data key is "-".
 */
public class Mse {
	private static final IConfigFilterChain END = (request, response) -> { };
	private static final PrintStream OUT = System.out;

	public static void main(String[] arguments) throws Exception {
		// What libraries print must not be taken for an answer.
		System.setOut(System.err);
		Properties properties = new Properties();
		for (String argument : arguments) {
			properties.setProperty(argument.substring(0, argument.indexOf('=')),
					argument.substring(argument.indexOf('=') + 1));
		}
		AliyunConfigFilter filter = new AliyunConfigFilter();
		filter.init(properties);
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			String[] words = line.split(" ");
			OUT.println("ok " + (words[0].equals("seal") ? seal(filter, words) : open(filter, words)));
		}
		OUT.flush();
		System.exit(0);
	}

	private static String seal(AliyunConfigFilter filter, String[] words) throws Exception {
		ConfigRequest request = new ConfigRequest();
		request.setDataId(words[1]);
		request.setGroup("DEFAULT_GROUP");
		request.setContent(new String(fromHex(words[2]), StandardCharsets.UTF_8));
		filter.doFilter(request, null, END);
		String dataKey = request.getEncryptedDataKey();
		return request.getContent() + " " + (dataKey == null || dataKey.isEmpty() ? "-" : dataKey);
	}

	private static String open(AliyunConfigFilter filter, String[] words) throws Exception {
		ConfigResponse response = new ConfigResponse();
		response.setDataId(words[1]);
		response.setGroup("DEFAULT_GROUP");
		response.setContent(words[2]);
		response.setEncryptedDataKey(words[3].equals("-") ? null : words[3]);
		filter.doFilter(null, response, END);
		StringBuilder hex = new StringBuilder();
		for (byte one : response.getContent().getBytes(StandardCharsets.UTF_8)) {
			hex.append(String.format("%02x", one));
		}
		return hex.toString();
	}

	private static byte[] fromHex(String hex) {
		byte[] bytes = new byte[hex.length() / 2];
		for (int i = 0; i < bytes.length; i++) {
			bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
		}
		return bytes;
	}
}
