// Drives the official Nacos client for Go, with its handlers for the key service, against a real Nacos server.
//
// Arguments are settings, name=value. Each line of standard input is a command, with texts in hex: `put DATA_ID TEXT`
// gives `ok`, `get DATA_ID` gives `ok TEXT`; and either gives `error REASON` when the client refuses.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/config_client"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

type settings map[string]string

func newSettings(arguments []string) settings {
	all := settings{}
	for _, argument := range arguments {
		name, value, _ := strings.Cut(argument, "=")
		all[name] = value
	}
	return all
}

func (all settings) file(name string) (string, error) {
	text, err := os.ReadFile(all[name])
	return strings.TrimSpace(string(text)), err
}

// The key service: its gateway with an access key (v1), or a dedicated instance with a client key (v3).
func (all settings) addKeyService(config *constant.ClientConfig) error {
	ca, err := all.file("kmsCaFile")
	if err != nil {
		return err
	}
	config.OpenKMS = true
	if all["kms"] == "v1" {
		config.AccessKey, config.SecretKey = all["accessKey"], all["secretKey"]
		config.KMSConfig = &constant.KMSConfig{Endpoint: all["kmsEndpoint"], CaContent: ca, OpenSSL: "true"}
		return nil
	}
	key, err := all.file("kmsClientKeyFile")
	if err != nil {
		return err
	}
	password, err := all.file("kmsPasswordFile")
	if err != nil {
		return err
	}
	config.KMSVersion = constant.KMSv3
	config.KMSv3Config = &constant.KMSv3Config{ClientKeyContent: key, Password: password,
		Endpoint: all["kmsEndpoint"], CaContent: ca}
	return nil
}

func (all settings) newClient() (config_client.IConfigClient, error) {
	port, err := strconv.ParseUint(all["port"], 10, 16)
	if err != nil {
		return nil, err
	}
	config := constant.NewClientConfig(
		constant.WithNamespaceId(all["namespace"]), constant.WithUsername(all["username"]),
		constant.WithPassword(all["password"]), constant.WithCacheDir(all["folder"]+"/cache"),
		constant.WithLogDir(all["folder"]+"/log"), constant.WithDisableUseSnapShot(true),
		constant.WithNotLoadCacheAtStart(true))
	if err = all.addKeyService(config); err != nil {
		return nil, err
	}
	server := *constant.NewServerConfig(all["host"], port, constant.WithContextPath("/nacos"))
	return clients.NewConfigClient(vo.NacosClientParam{ClientConfig: config,
		ServerConfigs: []constant.ServerConfig{server}})
}

func run(client config_client.IConfigClient, all settings, words []string) (string, error) {
	param := vo.ConfigParam{DataId: words[1], Group: all["group"], KmsKeyId: all["keyId"]}
	if words[0] == "get" {
		text, err := client.GetConfig(param)
		return hex.EncodeToString([]byte(text)), err
	}
	text, err := hex.DecodeString(words[2])
	if err != nil {
		return "", err
	}
	param.Content = string(text)
	published, err := client.PublishConfig(param)
	if err == nil && !published {
		err = fmt.Errorf("not published")
	}
	return "", err
}

func main() {
	// What libraries print must not be taken for an answer.
	out := os.Stdout
	os.Stdout = os.Stderr
	all := newSettings(os.Args[1:])
	client, err := all.newClient()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		answer, err := run(client, all, strings.Fields(lines.Text()))
		if err != nil {
			fmt.Fprintln(out, "error", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Fprintln(out, "ok", answer)
		}
	}
}
